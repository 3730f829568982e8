# limits: wall=3
# expect: error ok
# effect: processes_bounded
from concurrent.futures import ProcessPoolExecutor
with ProcessPoolExecutor(2) as pool:
    done = list(pool.map(abs, [-1, -2]))
print("ESCAPED", done)
