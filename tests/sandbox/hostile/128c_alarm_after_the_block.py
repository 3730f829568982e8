# An alarm set in a block rings in the next one or never: the host is not confused.
# expect: ok error | ok error crashed state-lost
def ring(*_):
    os.write(1, b"bleed")
    raise RuntimeError("rang")
signal.signal(signal.SIGALRM, ring)
try:
    signal.setitimer(signal.ITIMER_REAL, 0.05)
except OSError as error:
    print("held", error)
# %% pause=0.3
"second"
