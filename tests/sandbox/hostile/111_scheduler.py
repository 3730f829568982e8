# No real-time class, neither for oneself nor for others.
# expect: ok
# require: held
for policy in (os.SCHED_FIFO, os.SCHED_RR):
    refused("policy", os.sched_setscheduler, 0, policy, os.sched_param(99))
    refused("policy of the host", os.sched_setscheduler, host.pid, policy, os.sched_param(99))
refused("idle class for the host", os.sched_setscheduler, host.pid, os.SCHED_IDLE, os.sched_param(0))
refused("idle class for the victim", os.sched_setscheduler, host.victim_pid, os.SCHED_IDLE, os.sched_param(0))
refused("ioprio of the host", syscall, "ioprio_set", 1, host.pid, 3 << 13)
attribute = ctypes.create_string_buffer((48).to_bytes(4, "little") + (6).to_bytes(4, "little") + bytes(16)
    + (10**7).to_bytes(8, "little") * 3)
refused("deadline", syscall, "sched_setattr", 0, attribute, 0)
