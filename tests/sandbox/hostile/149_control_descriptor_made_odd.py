# The control channel switched to non-blocking, shut down on one side, its buffers shrunk.
# limits: wall=0.6
# expect: ok error timeout crashed state-lost | ok error timeout crashed state-lost
import socket, stat
for fd in range(3, 64):
    try:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            os.set_blocking(fd, False)
            libc.shutdown(fd, 0)
    except OSError:
        pass
# %%
1 + 1
