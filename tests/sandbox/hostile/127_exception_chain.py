# expect: error | ok
def chain(depth):
    try:
        if depth:
            chain(depth - 1)
        raise ValueError("depth " + "d" * 2000)
    except ValueError as error:
        raise KeyError("k" * 2000) from error
chain(200)
# %%
2 + 2
