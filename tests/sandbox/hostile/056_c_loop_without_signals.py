# limits: wall=0.4
# expect: timeout state-lost crashed
import itertools
any(itertools.repeat(0))
