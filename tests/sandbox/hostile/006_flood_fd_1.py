# Writing past Python's own writer is cut by the host.
# limits: wall=3
# expect: output-limit state-lost timeout crashed
# effect: rss_bounded
block = b"y" * 65536
while True:
    for fd in (1, 2):
        try:
            os.write(fd, block)
        except OSError:
            pass
