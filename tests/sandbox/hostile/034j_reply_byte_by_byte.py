# A true-to-form reply in single bytes, each in a packet of its own.
# limits: wall=3
# expect: ok crashed
import struct as _struct
frame = sys._getframe()
while "control" not in frame.f_locals:
    frame = frame.f_back
for byte in _struct.pack("!4sBIQI", b"pdm<", 0, frame.f_locals["request"], 0, 3) + b"one":
    os.write(frame.f_locals["control"], bytes([byte]))
time.sleep(2)
