# limits: wall=0.4
# expect: timeout state-lost | ok error state-lost
class Hang:
    def __repr__(self):
        while True:
            pass
Hang()
# %%
1
