# A program that ends itself in the polite way keeps its session.
# expect: error ok | ok
# require: after 5
value = 5
sys.exit(3)
# %%
print("after", value)
