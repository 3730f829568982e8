# limits: wall=5
# expect: ok memory error timeout | ok
# require: goes on
# effect: rss_bounded
import mmap
maps = []
try:
    while len(maps) < 400:
        page = mmap.mmap(-1, 32 << 20)
        page[::4096] = b"x" * len(page[::4096])
        maps.append(page)
    print("ESCAPED", len(maps))
except (OSError, MemoryError, ValueError) as error:
    print("held", error)
maps = None
# %%
print("goes on")
