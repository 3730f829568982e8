# Splicing over a read-only file must not change it (the class of faults called dirty pipe).
# expect: ok
# require: held
original = open(os.__file__, "rb").read(64)
reader, writer = os.pipe()
try:
    os.write(writer, b"x" * 65536)
    os.read(reader, 65536)
    fd = os.open(os.__file__, os.O_RDONLY)
    syscall("splice", fd, 0, writer, 0, 1, 0)
    os.write(writer, b"XXXXXXXX")
except OSError as error:
    print("refused", error.errno)
print("held" if open(os.__file__, "rb").read(64) == original else "ESCAPED")
