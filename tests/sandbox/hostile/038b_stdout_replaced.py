# limits: wall=0.4
# expect: ok error crashed state-lost timeout | ok error crashed state-lost timeout
class Bad:
    encoding = "utf-8"
    def write(self, text):
        raise SystemError("bad")
    def flush(self):
        while True:
            pass
    def __getattr__(self, name):
        raise MemoryError
sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = Bad()
# %%
5
