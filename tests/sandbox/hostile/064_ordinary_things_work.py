# limits: wall=10
# expect: ok | ok
# require: 4950
# require: async 3
# require: lazy
import asyncio, random, statistics, decimal, fractions, itertools, functools, heapq, bisect, re, json
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(4) as pool:
    print(sum(pool.map(lambda x: x, range(100))))
async def add(a, b):
    await asyncio.sleep(0.001)
    return a + b
print("async", asyncio.run(add(1, 2)))
random.seed(4)
print(random.random() == random.Random(4).random())
# %%
import numpy as np
from sympy.combinatorics import Permutation
from sympy.ntheory import primitive_root
import numpy.polynomial.chebyshev
import sympy.geometry
print("lazy", primitive_root(23), Permutation([1, 0]).order(), np.linalg.det(np.eye(3)))
