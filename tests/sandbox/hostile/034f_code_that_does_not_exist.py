# limits: wall=3
# expect: crashed
import struct as _struct
frame = sys._getframe()
while "control" not in frame.f_locals:
    frame = frame.f_back
os.write(frame.f_locals["control"], _struct.pack("!4sBIQI", b"pdm<", 200, frame.f_locals["request"], 0, 0))
time.sleep(2)
