# limits: wall=3
# expect: error ok
# effect: processes_bounded
import multiprocessing
with multiprocessing.Pool(2) as pool:
    print("ESCAPED", pool.map(abs, [-1, -2]))
