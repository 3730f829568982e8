# Neither memory devices nor other processes' memory.
# expect: ok
# require: held
for path in ("/dev/mem", "/dev/kmem", "/dev/port", "/proc/kcore", "/proc/kmsg", "/dev/kmsg", "/proc/kallsyms",
             f"/proc/{host.pid}/mem", f"/proc/{host.pid}/maps", "/proc/1/mem", f"/proc/{host.victim_pid}/mem",
             "/dev/vda", "/dev/sda", "/proc/sysrq-trigger", "/sys/kernel/debug", "/dev/fuse", "/dev/kvm", "/dev/ptmx"):
    refused(path, lambda path=path: os.close(os.open(path, os.O_RDONLY)))
