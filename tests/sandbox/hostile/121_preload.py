# Nothing a session writes is loaded by the next program, because there is none.
# expect: ok
# require: held
os.environ["LD_PRELOAD"] = host.folder + "/evil.so"
os.putenv("LD_LIBRARY_PATH", host.folder)
os.environ["PYTHONSTARTUP"] = os.environ["PYTHONPATH"] = host.folder
refused("execv", os.execv, sys.executable, [sys.executable, "-c", "print(1)"])
refused("load a library of the host", ctypes.CDLL, host.folder + "/evil.so")
def write_and_load():
    import tempfile
    path = tempfile.gettempdir() + "/evil.so"
    with open(os.__file__, "rb") as file:
        data = file.read(4096)
    with open(path, "wb") as file:
        file.write(data)
    return ctypes.CDLL(path)
refused("load an own library", write_and_load)
