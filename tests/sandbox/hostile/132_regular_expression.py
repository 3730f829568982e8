# Backtracking that looks at signals only now and then.
# limits: wall=0.4
# expect: timeout state-lost crashed
import re
re.match(r"(a|aa|aaa)*$" * 3, "a" * 400 + "b")
