# Neither the parent nor the host nor a bystander can be signalled.
# expect: ok
# require: held
targets = {host.pid, host.victim_pid, os.getppid()} - {0}
for pid in sorted(targets):
    # number 1 in an own process namespace is this very session
    if pid == os.getpid():
        print("held own", pid)
        continue
    for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGURG, 0):
        refused(f"kill {number}", os.kill, pid, number)
    refused("killpg", os.killpg, pid, signal.SIGKILL)
    refused("tgkill", syscall, "tgkill", pid, pid, 9)
    refused("tkill", syscall, "tkill", pid, 9)
    refused("kill -pid", syscall, "kill", -pid, 9)
