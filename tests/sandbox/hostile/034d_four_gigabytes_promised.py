# limits: wall=3
# expect: crashed
# effect: rss_bounded
import struct as _struct
frame = sys._getframe()
while "control" not in frame.f_locals:
    frame = frame.f_back
os.write(frame.f_locals["control"], _struct.pack("!4sBIQI", b"pdm<", 0, frame.f_locals["request"], 0, 2**32 - 1))
time.sleep(2)
