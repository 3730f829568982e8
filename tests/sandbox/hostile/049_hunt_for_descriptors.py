# No descriptor of the host is open here, no live socket lies in the heap.
# expect: ok
# require: held
import fcntl, gc, socket, stat
opened = []
for fd in range(4096):
    try:
        opened.append((fd, stat.S_IFMT(os.fstat(fd).st_mode)))
    except OSError:
        pass
print("held" if len(opened) <= 12 else "ESCAPED", len(opened), "descriptors")
for thing in gc.get_objects():
    try:
        if isinstance(thing, socket.socket) and thing.fileno() >= 0 and thing.family != socket.AF_UNIX:
            print("ESCAPED", thing)
    except Exception:
        pass
for fd, kind in opened:
    if kind == stat.S_IFDIR:
        try:
            print("folder", os.listdir(fd)[:3])
            os.open("../../../../.." + host.secret_file, os.O_RDONLY, dir_fd=fd)
            print("ESCAPED folder")
        except OSError as error:
            print("held", error.errno)
