# limits: wall=1
# expect: memory error timeout state-lost ok
# effect: rss_bounded
import bz2, zlib
big = zlib.compress(bytes(50_000_000), 9)
data = big
whole = b"".join(zlib.decompress(data) for _ in range(200))
print("ESCAPED" if len(whole) > 5_000_000_000 else "held")
