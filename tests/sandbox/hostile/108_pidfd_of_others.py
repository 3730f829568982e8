# Descriptors for processes: none that could signal or rob a process outside.
# expect: ok
# require: held
def send(pid, number):
    fd = syscall("pidfd_open", pid, 0)
    return syscall("pidfd_send_signal", fd, number, 0, 0)
def rob(pid):
    return syscall("pidfd_getfd", syscall("pidfd_open", pid, 0), 0, 0)
for pid in {host.pid, host.victim_pid, os.getppid() or 2} - {os.getpid()}:
    refused("kill", send, pid, 9)
    refused("urg", send, pid, int(signal.SIGURG))
    refused("getfd", rob, pid)
