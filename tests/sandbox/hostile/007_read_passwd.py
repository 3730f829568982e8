# Files of the host that carry names or secrets are not there.
# expect: ok
# require: held
# forbid: root:x:0
for path in ("/etc/passwd", "/etc/shadow", "/etc/hostname", "/root/.bashrc", "/home", "/var/log", "/etc/ssh",
             "/../../etc/passwd", "/usr/../etc/passwd", "/root", "/root/.ssh", "/etc/machine-id"):
    def read(path=path):
        if os.path.isdir(path):
            return os.listdir(path)
        return open(path).read()
    try:
        value = read()
    except OSError as error:
        print("held", path, errno.errorcode[error.errno])
    else:
        print("held empty" if value in ("", []) else "ESCAPED", path, repr(value)[:80])
