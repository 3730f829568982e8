# limits: wall=3
# expect: crashed
frame = sys._getframe()
while "control" not in frame.f_locals:
    frame = frame.f_back
os.write(frame.f_locals["control"], bytes(range(256)) * 40)
time.sleep(2)
