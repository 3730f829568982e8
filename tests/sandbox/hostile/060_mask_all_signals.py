# limits: wall=0.4
# expect: timeout state-lost crashed
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
while True:
    pass
