# expect: ok
# require: held
refused("affinity", os.sched_setaffinity, 0, {0})
refused("affinity of the host", syscall, "sched_setaffinity", host.pid, 8, (ctypes.c_ulong * 1)(1))
refused("nice", os.nice, -5)
refused("nice more", os.nice, 5)
refused("priority of the host", os.setpriority, os.PRIO_PROCESS, host.pid, 19)
refused("priority of the user", os.setpriority, os.PRIO_USER, 0, 19)
