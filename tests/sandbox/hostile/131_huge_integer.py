# limits: wall=0.5
# expect: ok error timeout memory state-lost output-limit
1 << (1 << 27)
