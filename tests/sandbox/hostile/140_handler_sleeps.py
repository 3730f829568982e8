# limits: wall=0.4
# expect: timeout state-lost crashed
def handler(*_):
    while True:
        time.sleep(10)
signal.signal(signal.SIGINT, handler)
while True:
    time.sleep(1)
