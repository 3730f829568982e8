# F_SETOWN and F_SETSIG make the kernel send any signal to a process of the same user.
# expect: ok
# require: held
import fcntl
def own(pid):
    reader, writer = os.pipe()
    fcntl.fcntl(reader, 8, pid)
    fcntl.fcntl(reader, 10, int(signal.SIGURG))
    fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    return os.write(writer, b"x")
for pid in (host.victim_pid, host.pid, -host.victim_pid):
    refused(f"own {pid}", own, pid)
