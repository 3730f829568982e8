# System V and POSIX shared memory, semaphores and queues.
# expect: ok
# require: held
# effect: ipc_untouched
refused("shmget", syscall, "shmget", 0x706F64, 4096, 0o1666)
refused("semget", syscall, "semget", 0x706F64, 1, 0o1666)
refused("msgget", syscall, "msgget", 0x706F64, 0o1666)
refused("mq_open", syscall, "mq_open", b"podium_hostile", 0o102, 0o666, 0)
def block():
    from multiprocessing import shared_memory
    return shared_memory.SharedMemory("podium_hostile", create=True, size=4096)
refused("shm_open", block)
refused("/dev/shm", lambda: open("/dev/shm/podium_hostile", "w"))
def semaphore():
    libc.sem_open.restype = ctypes.c_void_p
    if not libc.sem_open(b"/podium_hostile", 0o100, 0o600, 1):
        raise OSError(ctypes.get_errno(), "sem_open")
refused("named semaphore", semaphore)
