# limits: wall=2
# expect: ok output-limit timeout memory error state-lost
list(range(3_000_000))
