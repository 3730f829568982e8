# expect: error | ok
if True:
	x = 1
        y = 2
# %%
print("goes on")
