# Memory that cannot be swapped.
# expect: ok
# require: done
buffer = ctypes.create_string_buffer(64 << 20)
for call, args in (("mlock", (buffer, 64 << 20)), ("mlockall", (3,))):
    result = getattr(libc, call)(*[ctypes.c_size_t(a) if isinstance(a, int) else a for a in args])
    print("ESCAPED" if result == 0 and os.getuid() != -1 and 64 << 20 > 9 << 20 and call == "mlock" else "held", call)
print("done")
