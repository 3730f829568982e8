# expect: error | ok
# require: RecursionError
def f(n):
    return f(n + 1) + 1
f(0)
# %%
print("goes on")
