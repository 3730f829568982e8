# Forgetting to die with the launcher: the prctl is refused, or the process namespace makes up for it.
# expect: ok
# require: done
value = ctypes.c_int(-1)
try:
    syscall("prctl", 1, 0, 0, 0, 0)
    syscall("prctl", 2, ctypes.byref(value), 0, 0, 0)
    print("death signal now", value.value)
    if value.value == 0 and os.getpid() != 1:
        print("ESCAPED: would outlive the zygote")
except OSError as error:
    print("held", error)
print("done")
