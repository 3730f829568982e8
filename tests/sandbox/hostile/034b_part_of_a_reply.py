# The first bytes of a reply, and then nothing: the host's clock goes on.
# limits: wall=0.4
# expect: timeout crashed
import struct as _struct
frame = sys._getframe()
while "control" not in frame.f_locals:
    frame = frame.f_back
os.write(frame.f_locals["control"], _struct.pack("!4sBIQI", b"pdm<", 0, frame.f_locals["request"], 0, 400)[:15])
while True:
    try:
        time.sleep(10)
    except BaseException:
        pass
