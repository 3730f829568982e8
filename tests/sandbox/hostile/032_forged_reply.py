# A reply in the exact form, with the right number, sent by the program itself: a session can always lie about its own
# result. The true reply comes after it, which is out of turn, and the session's end.
# limits: wall=3
# expect: ok crashed | crashed state-lost ok
def serving():
    frame = sys._getframe()
    while frame is not None:
        if "request" in frame.f_locals and "control" in frame.f_locals:
            return frame.f_locals
        frame = frame.f_back
    raise RuntimeError("the loop of the session was not found")
import struct as _struct
def reply(code, request, text, dropped=0, length=None):
    return _struct.pack("!4sBIQI", b"pdm<", code, request, dropped, len(text) if length is None else length) + text
here = serving()
os.write(here["control"], reply(0, here["request"], b"forged"))
# %%
print("after")
