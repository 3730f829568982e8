# A file beside the test, readable to every user of the host.
# expect: ok
# require: held
for path in (host.secret_file, "/proc/self/root" + host.secret_file, "/proc/1/root" + host.secret_file,
             "/.." * 20 + host.secret_file, os.path.join(os.path.dirname(host.secret_file), ".", "secret.txt")):
    refused(path[:20], lambda path=path: open(path).read())
def by_descriptor():
    fd = os.open("/", os.O_RDONLY)
    return os.read(os.open(host.secret_file.lstrip("/"), os.O_RDONLY, dir_fd=fd), 100)
refused("openat /", by_descriptor)
def upwards():
    os.chdir("/")
    for _ in range(30):
        os.chdir("..")
    return open(host.secret_file.lstrip("/")).read()
refused("chdir ..", upwards)
