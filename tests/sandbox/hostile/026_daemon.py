# No process outlives its session.
# expect: ok
# require: held
# effect: processes_bounded
def daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(3)
            open(host.folder + "/made.txt", "w").write("alive")
        os._exit(0)
refused("fork", daemon)
