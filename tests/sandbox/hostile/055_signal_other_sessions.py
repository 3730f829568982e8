# Small numbers are where the neighbours would be.
# expect: ok crashed state-lost
own = os.getpid()
reached = []
for pid in range(2, 3000):
    if pid == own:
        continue
    try:
        os.kill(pid, signal.SIGURG)
        reached.append(pid)
    except OSError:
        pass
mine = []
if own == 1:
    mine = [t.native_id for t in threading.enumerate()]
print("ESCAPED" if set(reached) - set(mine) else "held", reached[:20], mine)
