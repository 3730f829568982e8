# Sixty thousand brackets, which break parsers that recurse.
# limits: wall=3
# expect: crashed
frame = sys._getframe()
while "control" not in frame.f_locals:
    frame = frame.f_back
os.write(frame.f_locals["control"], b"[" * 60_000)
time.sleep(2)
