# expect: ok
# require: held
for path in ("/proc/1/ns/mnt", f"/proc/{host.pid}/ns/user", f"/proc/{host.pid}/ns/net", "/proc/self/ns/pid"):
    refused(path, lambda path=path: syscall("setns", os.open(path, os.O_RDONLY), 0))
def by_pidfd(pid):
    return syscall("setns", syscall("pidfd_open", pid, 0), 0x20000000)
for pid in {host.pid, host.victim_pid, os.getppid() or 2}:
    refused(f"pidfd {pid}", by_pidfd, pid)
