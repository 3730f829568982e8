# Ignoring every signal that can be ignored ends in SIGKILL.
# limits: wall=0.4
# expect: timeout state-lost crashed
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
while True:
    pass
