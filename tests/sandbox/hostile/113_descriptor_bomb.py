# Open files are capped per session.
# limits: wall=3
# expect: ok
# require: held
opened = []
try:
    while len(opened) < 100_000:
        opened += os.pipe()
    print("ESCAPED", len(opened))
except OSError as error:
    print("held" if len(opened) <= 4096 else "ESCAPED", error.errno == errno.EMFILE or error.errno)
for fd in opened:
    os.close(fd)
