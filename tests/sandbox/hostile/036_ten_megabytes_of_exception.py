# expect: error | ok
# require: ValueError
raise ValueError("q" * 10_000_000)
# %%
1 + 1
