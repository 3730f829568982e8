# limits: wall=0.6
# expect: ok error timeout
# require: held
import tempfile
def fifo():
    path = tempfile.gettempdir() + "/pipe"
    os.mkfifo(path)
    return open(path)
refused("fifo", fifo)
refused("device", lambda: os.mknod(tempfile.gettempdir() + "/null", 0o666 | 0o020000, os.makedev(1, 3)))
refused("disk", lambda: os.mknod(tempfile.gettempdir() + "/disk", 0o666 | 0o060000, os.makedev(254, 0)))
