# Two replies in one piece.
# limits: wall=3
# expect: crashed
import struct as _struct
frame = sys._getframe()
while "control" not in frame.f_locals:
    frame = frame.f_back
one = _struct.pack("!4sBIQI", b"pdm<", 0, frame.f_locals["request"], 0, 4) + b"once"
os.write(frame.f_locals["control"], one + one)
time.sleep(2)
