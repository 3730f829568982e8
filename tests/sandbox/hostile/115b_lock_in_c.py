# A deadlock inside C, with every thread of the pool waiting.
# limits: wall=0.4
# expect: timeout state-lost crashed
mutex = ctypes.create_string_buffer(64)
libc.pthread_mutex_lock(mutex)
ctypes.PyDLL(None).pthread_mutex_lock(mutex)
