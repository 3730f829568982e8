# Waiting for ever on a lock nobody holds, and on a lock in memory shared with nobody.
# limits: wall=0.4
# expect: timeout state-lost crashed
lock = threading.Lock()
lock.acquire()
word = ctypes.c_uint32(0)
libc.syscall(ctypes.c_long(202 if X86 else 98), ctypes.byref(word), 0, 0, None, None, 0)
lock.acquire()
