# Reading the control channel to steal the next request, then going on as if nothing were.
# limits: wall=0.4
# expect: ok error timeout crashed state-lost | ok error timeout crashed state-lost
import stat
def steal():
    for fd in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.set_blocking(fd, True)
                os.read(fd, 65536)
        except OSError:
            pass
threading.Thread(target=steal, daemon=True).start()
# %%
1 + 1
