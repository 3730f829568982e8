# A chain that bites its own tail, and groups of groups.
# limits: wall=0.4
# expect: error timeout | ok error timeout state-lost
a, b = ValueError("a"), ValueError("b")
a.__cause__, b.__cause__ = b, a
a.__context__, b.__context__ = b, a
raise a
# %%
group = ValueError("x")
for _ in range(500):
    group = ExceptionGroup("g", [group, group])
raise group
