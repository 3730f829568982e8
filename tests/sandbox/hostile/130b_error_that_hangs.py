# limits: wall=0.4
# expect: timeout state-lost error
class Bad(Exception):
    def __str__(self):
        while True:
            pass
    __repr__ = __str__
raise Bad
