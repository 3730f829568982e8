# No way from a number of a descriptor to somebody else's file; the session's own pipes are its own.
# expect: ok
# require: held
import stat
def foreign(path):
    opened = os.open(path, os.O_RDWR)
    try:
        facts = os.fstat(opened)
        if stat.S_ISFIFO(facts.st_mode) or facts.st_rdev == os.makedev(1, 3):
            raise OSError(errno.EPERM, "its own pipe or /dev/null")
        return facts
    finally:
        os.close(opened)
for fd in range(0, 20):
    for base in ("/proc/self/fd", "/dev/fd", f"/proc/{host.pid}/fd", f"/proc/{host.victim_pid}/fd", "/proc/1/fd"):
        refused(f"{base}/{fd}", foreign, f"{base}/{fd}")
for fd in range(0, 3):  # the bystander's output is a pipe too
    refused(f"pipe of the bystander {fd}", lambda fd=fd: os.open(f"/proc/{host.victim_pid}/fd/{fd}", os.O_RDONLY))
