# expect: ok
# require: held
import tempfile
def huge():
    with tempfile.TemporaryFile() as file:
        os.posix_fallocate(file.fileno(), 0, 1 << 40)
refused("fallocate", huge)
def sparse():
    with tempfile.TemporaryFile() as file:
        file.truncate(1 << 40)
refused("sparse", sparse)
