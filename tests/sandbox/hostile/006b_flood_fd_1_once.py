# A few megabytes past Python's writer, then a normal end: never more than the cap comes back.
# limits: wall=3
# expect: ok output-limit state-lost timeout crashed error
for _ in range(80):
    os.write(1, b"z" * 65536)
