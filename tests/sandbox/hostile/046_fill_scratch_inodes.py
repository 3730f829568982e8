# limits: wall=5
# expect: ok
# require: held
import tempfile
count = 0
try:
    folder = tempfile.mkdtemp()
    while count < 20_000:
        os.mkdir(f"{folder}/{count}")
        count += 1
    print("ESCAPED", count)
except OSError as error:
    print("held", type(error).__name__, count < 20_000)
