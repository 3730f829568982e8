# Surrogates, NUL, escape sequences and direction marks come back as harmless text.
# expect: ok error | ok
# forbid: \x1b
print("\ud800\udfff|\x00|\x07|\x1b[31mred\x1b[0m|\x1b]0;title\x07|\u202eabc\u202c|\u2066x\u2069|\x9b31m|\r overwritten|\x08\x08")
# %%
"\ud800 \x1b]52;c;aGVsbG8=\x07 \u202e \x00"
