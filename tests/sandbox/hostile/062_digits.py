# Answers in competition problems have thousands of digits.
# expect: ok | ok
# require: held
text = str(3**20000)
print("held", len(text), text[:6], sum(map(int, text)))
# %%
print(len(str(7**50000)))
