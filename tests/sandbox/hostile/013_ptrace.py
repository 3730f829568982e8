# No debugging of others, nor of oneself by others.
# expect: ok
# require: held
for pid in (host.pid, host.victim_pid, os.getppid() or 2, 2):
    refused("attach", syscall, "ptrace", 16, pid, 0, 0)
    refused("seize", syscall, "ptrace", 0x4206, pid, 0, 0)
refused("traceme", syscall, "ptrace", 0, 0, 0, 0)
