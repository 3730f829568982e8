# No executable memory file.
# expect: ok
# require: held
refused("memfd_create", syscall, "memfd_create", b"x", 0)
refused("memfd_create exec", syscall, "memfd_create", b"x", 0x10)
refused("memfd_secret", syscall, "memfd_secret", 0)
def run():
    fd = os.memfd_create("x")
    os.write(fd, b"#!/bin/sh\necho ran")
    os.execve(fd, ["x"], {})
refused("run", run)
