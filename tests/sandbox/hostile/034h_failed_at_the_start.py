# "Confinement failed" as the answer to a block.
# limits: wall=3
# expect: crashed | ok crashed state-lost
import struct as _struct
frame = sys._getframe()
while "control" not in frame.f_locals:
    frame = frame.f_back
text = b"uid: \x1b[31m nobody"
os.write(frame.f_locals["control"], _struct.pack("!4sBIQI", b"pdm<", 5, frame.f_locals["request"], 0, len(text)) + text)
time.sleep(2)
# %% pause=0.2
print("after")
