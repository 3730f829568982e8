# Fills the control channel with bytes that nobody asked for.
# limits: wall=0.6
# expect: crashed state-lost error ok timeout output-limit
# effect: rss_bounded
import stat
sockets = []
for fd in range(3, 64):
    try:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            sockets.append(fd)
    except OSError:
        pass
end = time.monotonic() + 0.3
while time.monotonic() < end and sockets:
    for fd in sockets:
        os.set_blocking(fd, False)
        try:
            os.write(fd, b"\xff" * 65536)
        except OSError:
            pass
