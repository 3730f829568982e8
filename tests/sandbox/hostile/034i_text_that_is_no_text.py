# Broken UTF-8, a count of dropped characters beyond all memory, escape sequences in the reply's own text.
# limits: wall=3
# expect: ok crashed
import struct as _struct
frame = sys._getframe()
while "control" not in frame.f_locals:
    frame = frame.f_back
text = b"\xff\xfe\xed\xa0\x80\x1b[2J\xe2\x80\xae\x00 end"
os.write(frame.f_locals["control"],
         _struct.pack("!4sBIQI", b"pdm<", 0, frame.f_locals["request"], 2**64 - 1, len(text)) + text)
time.sleep(2)
