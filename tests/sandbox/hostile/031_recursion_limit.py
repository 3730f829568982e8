# The stack of the interpreter is finite: a crash is the session's own.
# limits: wall=1
# expect: crashed state-lost memory timeout error
sys.setrecursionlimit(10**9)
class Deep:
    def __getattr__(self, name):
        return getattr(self, name + "x"[:0])
def f(n):
    return repr_of(n)
def repr_of(n):
    nest = []
    for _ in range(400_000):
        nest = [nest]
    return repr(nest)
f(0)
