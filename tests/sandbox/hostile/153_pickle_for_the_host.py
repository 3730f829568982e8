# A value whose unpickling would run code in whoever loads it: the host loads nothing.
# limits: wall=2
# expect: crashed ok error
import pickle, struct as _struct
class Bomb:
    def __reduce__(self):
        return os.system, (f"touch {host.folder}/made.txt",)
frame = sys._getframe()
while "control" not in frame.f_locals:
    frame = frame.f_back
data = pickle.dumps(Bomb())
os.write(1, data)
os.write(frame.f_locals["control"], _struct.pack("!4sBIQI", b"pdm<", 0, frame.f_locals["request"], 0, len(data)) + data)
time.sleep(1)
