# Stopping, continuing and hanging up whatever number answers.
# expect: ok crashed state-lost
for pid in {host.victim_pid, host.pid, os.getppid() or 3} - {os.getpid(), 0}:
    for number in (signal.SIGSTOP, signal.SIGTSTP, signal.SIGCONT, signal.SIGHUP, signal.SIGURG):
        refused(f"{number}", os.kill, pid, number)
        refused("queue", syscall, "rt_sigqueueinfo", pid, int(number), ctypes.create_string_buffer(128))
        refused("tg queue", syscall, "rt_tgsigqueueinfo", pid, pid, int(number), ctypes.create_string_buffer(128))
def own_by_fcntl():
    import fcntl
    reader, writer = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETOWN, host.victim_pid)
    fcntl.fcntl(reader, 10, int(signal.SIGURG))
    fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    return os.write(writer, b"x")
try:
    own_by_fcntl()
except OSError as error:
    print("held", error)
