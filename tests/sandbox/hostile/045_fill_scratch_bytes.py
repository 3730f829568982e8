# The scratch folder is small, or not there at all.
# limits: wall=5
# expect: ok
# require: held
import tempfile
written = 0
try:
    folder = tempfile.mkdtemp()
    for number in range(200):
        with open(f"{folder}/{number}", "wb", buffering=0) as file:
            for _ in range(8):
                written += file.write(b"\1" * 1_000_000)
    print("ESCAPED", written)
except OSError as error:
    print("held" if written <= 300_000_000 else "ESCAPED", type(error).__name__, written < 300_000_000)
