# expect: ok
# require: held
import resource
for name in ("RLIMIT_AS", "RLIMIT_NPROC", "RLIMIT_NOFILE", "RLIMIT_FSIZE", "RLIMIT_CORE", "RLIMIT_CPU"):
    number = getattr(resource, name)
    soft, hard = resource.getrlimit(number)
    if hard == resource.RLIM_INFINITY:
        print("unlimited", name)
        continue
    refused(name + " more", resource.setrlimit, number, (hard + 4096, hard + 4096))
    refused(name + " unlimited", resource.setrlimit, number, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
infinite = (ctypes.c_ulong * 2)(2**64 - 1, 2**64 - 1)
for number in (6, 7, 9):
    for pid in (0, os.getpid(), os.getppid() or 2, host.pid):
        refused(f"prlimit {number}", syscall, "prlimit64", pid, number, infinite, None)
for name in ("RLIMIT_AS", "RLIMIT_NPROC", "RLIMIT_NOFILE"):
    if resource.getrlimit(getattr(resource, name))[1] == resource.RLIM_INFINITY:
        print("ESCAPED", name, "has no limit")
