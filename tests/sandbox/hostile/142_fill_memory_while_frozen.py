# A thread that allocates as soon as the block is over.
# limits: wall=1
# expect: ok memory error timeout crashed state-lost | ok memory error timeout crashed state-lost
# effect: rss_bounded
hoard = []
def fill():
    time.sleep(0.05)
    while True:
        hoard.append(bytearray(b"x" * 4_000_000))
threading.Thread(target=fill, daemon=True).start()
# %% pause=0.4
len(hoard) < 5
