# The counter of a background thread stands still between blocks.
# expect: ok | ok
# require: held
ticks = []
def tick():
    while len(ticks) < 100_000:
        ticks.append(time.monotonic())
        time.sleep(0.01)
threading.Thread(target=tick, daemon=True).start()
time.sleep(0.1)
# %% pause=1.0
gaps = [b - a for a, b in zip(ticks, ticks[1:])]
now = time.monotonic()
longest = max([*gaps, now - ticks[-1]])
print("held" if longest > 0.7 else "ESCAPED: it ran on", round(longest, 2), len(ticks))
