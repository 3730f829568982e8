# Mapping and unmapping as fast as possible.
# limits: wall=0.5
# expect: timeout state-lost memory error
# effect: rss_bounded
import mmap
while True:
    page = mmap.mmap(-1, 64 << 20)
    page[::4096] = b"y" * len(page[::4096])
    page.close()
