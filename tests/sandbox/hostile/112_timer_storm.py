# Interval timers that fire as often as they can: the session's own CPU limit ends it.
# limits: wall=0.4
# expect: ok error timeout crashed state-lost | ok error timeout crashed state-lost
hits = 0
def hit(*_):
    global hits
    hits += 1
for number, timer in ((signal.SIGALRM, signal.ITIMER_REAL), (signal.SIGVTALRM, signal.ITIMER_VIRTUAL)):
    try:
        signal.signal(number, hit)
        signal.setitimer(timer, 1e-6, 1e-6)
    except OSError as error:
        print("held", error)
while True:
    sum(range(1000))
# %%
print("still here")
