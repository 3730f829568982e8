# expect: ok
# require: held
refused("keyctl get session", syscall, "keyctl", 0, -3, 0)
refused("keyctl join", syscall, "keyctl", 1, 0)
refused("add_key", syscall, "add_key", b"user", b"podium", b"payload", 7, -4)
refused("request_key", syscall, "request_key", b"user", b"podium", 0, -4)
refused("proc keys", lambda: open("/proc/keys").read())
