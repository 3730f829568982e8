# expect: crashed state-lost
ctypes.string_at(0)
