# A handler that returns into the fault: an endless loop of faults.
# limits: wall=0.5
# expect: crashed state-lost timeout
signal.signal(signal.SIGSEGV, lambda *_: None)
ctypes.string_at(8)
