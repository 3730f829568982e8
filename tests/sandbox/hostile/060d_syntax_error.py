# expect: error | ok
# require: SyntaxError
x = = 3
# %%
print("goes on")
