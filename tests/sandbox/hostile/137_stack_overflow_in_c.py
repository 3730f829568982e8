# expect: crashed state-lost error memory
sys.setrecursionlimit(10**7)
import functools
f = lambda: None
for _ in range(200_000):
    f = functools.partial(f)
f = [f]
data = ()
for _ in range(1_000_000):
    data = (data,)
hash(data)
compare = functools.cmp_to_key
compile("-" * 100_000 + "1", "x", "eval")
os.abort()
