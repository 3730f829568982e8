# expect: ok
# require: held
# forbid: PODIUM_CANARY
for name in os.environ:
    if any(word in name.upper() for word in ("TOKEN", "SECRET", "KEY", "PODIUM", "PASS")):
        print("ESCAPED", name, os.environ[name])
print("held", len(os.environ) < 20)
refused("expandvars", lambda: os.environ["PODIUM_" + "CANARY"])
