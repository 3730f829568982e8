# A session may not make processes: the bomb stops at its first (or, capped, at its sixty-fourth) child.
# expect: ok | ok
# require: held
# effect: processes_bounded
children = 0
try:
    while children < 300:
        if os.fork() == 0:
            time.sleep(5)
            os._exit(0)
        children += 1
    print("ESCAPED", children)
except OSError as error:
    print("held at", children, error)
# %%
print("held" if children <= 64 else "ESCAPED", "session goes on")
