# Files of the interpreter's tree are readable; the folders above them are not listed beyond what is needed.
# expect: ok
# require: held
for path in ("/home", "/work", "/root", "/var", "/mnt", "/media", "/srv", "/opt", "/boot", "/run", "/sys", "/proc"):
    try:
        names = os.listdir(path)
    except OSError as error:
        print("held", path, error.errno)
    else:
        print("held" if len(names) <= 2 else "ESCAPED", path, names[:5])
