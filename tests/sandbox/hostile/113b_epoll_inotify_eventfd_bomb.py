# limits: wall=3
# expect: ok
# require: held
import select
def bomb(make):
    made = []
    try:
        while len(made) < 20_000:
            made.append(make())
    except OSError as error:
        print("held" if len(made) <= 4096 else "ESCAPED", len(made), error)
    else:
        print("ESCAPED", len(made))
    for thing in made:
        thing.close() if hasattr(thing, "close") else os.close(thing)
bomb(select.epoll)
bomb(lambda: os.eventfd(0))
bomb(lambda: syscall(253 if X86 else 26, 0))
bomb(lambda: syscall(283 if X86 else 85, 1, 0))
