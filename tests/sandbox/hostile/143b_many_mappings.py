# Thousands of small mappings: page tables and bookkeeping are bounded too.
# limits: wall=3
# expect: ok error memory timeout state-lost
# effect: rss_bounded
import mmap
kept = []
try:
    while len(kept) < 200_000:
        kept.append(mmap.mmap(-1, 4096, prot=mmap.PROT_READ | (mmap.PROT_WRITE if len(kept) % 2 else 0)))
except (OSError, MemoryError, ValueError) as error:
    print("held", len(kept), error)
