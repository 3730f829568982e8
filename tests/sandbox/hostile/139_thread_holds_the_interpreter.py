# A thread that never lets go of the interpreter's lock, started just before the block ends.
# limits: wall=0.5
# expect: ok timeout state-lost crashed | ok timeout state-lost crashed
import itertools
def hold():
    any(itertools.repeat(0))
threading.Thread(target=hold, daemon=True).start()
# %%
1 + 1
