# Memory in the kernel that no address-space limit counts: pipes blown up to a megabyte and filled.
# limits: wall=4
# expect: ok error timeout memory state-lost crashed
import fcntl
total = 0
kept = []
try:
    while total < 8_000_000_000:
        reader, writer = os.pipe()
        kept += [reader, writer]
        try:
            fcntl.fcntl(writer, 1031, 1 << 20)
        except OSError as error:
            pass
        os.set_blocking(writer, False)
        try:
            while True:
                total += os.write(writer, bytes(65536))
        except BlockingIOError:
            pass
    print("ESCAPED", total)
except OSError as error:
    print("held", error)
print("megabytes in pipes", total >> 20)
if total > 300 << 20:
    print("ESCAPED", total)
