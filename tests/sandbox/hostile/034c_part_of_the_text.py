# A whole header that promises text which never comes; then the true reply, which is taken for it.
# limits: wall=0.6
# expect: crashed ok timeout error | crashed state-lost ok
import struct as _struct
frame = sys._getframe()
while "control" not in frame.f_locals:
    frame = frame.f_back
os.write(frame.f_locals["control"], _struct.pack("!4sBIQI", b"pdm<", 0, frame.f_locals["request"], 0, 400))
# %%
print("after")
