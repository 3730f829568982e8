# expect: ok error | ok error
class Meta(type):
    def __repr__(cls):
        print("printed from repr " * 1000)
        raise KeyboardInterrupt
class Thing(metaclass=Meta):
    def __repr__(self):
        return 5
    def __str__(self):
        raise SystemExit
Thing
# %%
Thing()
