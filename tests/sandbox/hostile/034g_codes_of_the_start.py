# "Ready" as the answer to a block: must neither confuse the host nor leave the session running unfrozen.
# limits: wall=3
# expect: crashed | ok crashed state-lost
# forbid@2: bleed
import struct as _struct
frame = sys._getframe()
while "control" not in frame.f_locals:
    frame = frame.f_back
os.write(frame.f_locals["control"], _struct.pack("!4sBIQI", b"pdm<", 4, frame.f_locals["request"], 0, 0))
end = time.monotonic() + 2
while time.monotonic() < end:
    print("bleed")
    time.sleep(0.01)
# %% pause=0.3
print("after")
