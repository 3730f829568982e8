# expect: ok crashed state-lost
own = os.getpid()
for pid in [*range(max(2, own - 60), own + 60), *range(max(2, host.pid - 20), host.pid + 40)]:
    if pid == own:
        continue
    try:
        os.kill(pid, signal.SIGURG)
    except OSError:
        continue
    if pid not in [thread.native_id for thread in threading.enumerate()]:
        print("ESCAPED", pid)
print("held")
