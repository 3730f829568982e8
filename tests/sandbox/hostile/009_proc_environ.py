# Nobody else's environment.
# expect: ok
# require: held
for pid in ("1", "self", "thread-self", str(host.pid), str(host.victim_pid), "2"):
    def read(pid=pid):
        data = open(f"/proc/{pid}/environ", "rb").read()
        if not data:
            raise OSError(errno.ENODATA, "empty")
        return data
    refused(pid, read)
