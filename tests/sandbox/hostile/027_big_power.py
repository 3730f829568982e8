# A long computation in C that does look at signals; if it ends at the soft limit, variables are kept.
# limits: wall=0.4
# expect: timeout memory state-lost
kept = 1
x = 7**10**9
