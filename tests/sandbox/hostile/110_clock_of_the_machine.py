# expect: ok
# require: held
# effect: clock_untouched
timex = ctypes.create_string_buffer(bytes(256))
ctypes.memmove(timex, 0x0001.to_bytes(4, "little"), 4)
refused("adjtimex", syscall, "adjtimex", timex)
refused("clock_adjtime", syscall, "clock_adjtime", 0, timex)
refused("clock_settime", time.clock_settime, time.CLOCK_REALTIME, time.time())
refused("settimeofday", syscall, "settimeofday", (ctypes.c_long * 2)(int(time.time()), 0), 0)
