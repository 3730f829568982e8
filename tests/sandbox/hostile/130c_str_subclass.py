# A value whose repr is a subclass of str that lies about its length.
# limits: wall=1
# expect: ok error timeout output-limit state-lost
class Text(str):
    def __len__(self):
        return -1
    def encode(self, *args):
        return b"\xff" * 10_000_000
    def __getitem__(self, key):
        while True:
            pass
class Thing:
    def __repr__(self):
        return Text("t" * 1_000_000)
Thing()
