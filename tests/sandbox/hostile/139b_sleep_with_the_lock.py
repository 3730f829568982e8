# Sleeping in C with the lock held: no Python signal handler can run.
# limits: wall=0.4
# expect: timeout state-lost crashed
ctypes.PyDLL(None).sleep(30)
