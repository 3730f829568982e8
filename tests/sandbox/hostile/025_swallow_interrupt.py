# Catching the interrupt buys half a second, no more.
# limits: wall=0.4
# expect: timeout state-lost crashed
while True:
    try:
        while True:
            pass
    except BaseException:
        print("not today")
