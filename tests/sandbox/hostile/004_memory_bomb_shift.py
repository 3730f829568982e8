# One huge allocation.
# limits: wall=10
# expect: memory error | ok
# require: goes on
# effect: rss_bounded
x = 1 << (1 << 36)
print("ESCAPED")
# %%
print("goes on")
