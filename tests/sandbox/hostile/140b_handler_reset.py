# The interrupt put back to its deadly default.
# limits: wall=0.4
# expect: timeout state-lost crashed
signal.signal(signal.SIGINT, signal.SIG_DFL)
while True:
    pass
