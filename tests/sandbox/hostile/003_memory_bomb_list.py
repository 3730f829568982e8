# The address space of a session is capped; the session survives its MemoryError.
# limits: wall=10
# expect: ok memory error | ok
# require: goes on
# effect: rss_bounded
chunks = []
try:
    while True:
        chunks.append(bytearray(8_000_000))
        chunks[-1][::4096] = b"x" * len(chunks[-1][::4096])
        if len(chunks) > 1000:
            print("ESCAPED")
            break
except MemoryError:
    chunks = None
    raise
# %%
print("goes on")
