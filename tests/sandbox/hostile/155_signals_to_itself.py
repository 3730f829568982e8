# Every signal, sent to itself, one after another; the deadly ones end the session.
# limits: wall=0.6
# expect: crashed timeout state-lost ok error
for number in range(64, 0, -1):
    if number in (signal.SIGKILL, signal.SIGSTOP):
        continue
    try:
        os.kill(os.getpid(), number)
    except (OSError, KeyboardInterrupt):
        pass
