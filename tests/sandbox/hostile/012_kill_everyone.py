# kill(-1) reaches no process outside the session.
# expect: ok crashed state-lost
try:
    os.kill(-1, signal.SIGURG)  # harmless to whoever gets it; the victim of the host counts them
    print("sent")
except OSError as error:
    print("held", error)
alone = os.getpid() == 1
if alone:
    try:
        os.kill(-1, signal.SIGKILL)
    except OSError as error:
        print("held", error)
print("alive")
