# Not even the names of the host's files are visible.
# expect: ok
# require: held
refused("listdir", os.listdir, host.folder)
refused("scandir", lambda: list(os.scandir(host.folder)))
refused("walk up", lambda: os.listdir(os.path.dirname(host.folder) + "/" + os.path.basename(host.folder)))
refused("glob", lambda: __import__("glob").glob(host.folder + "/*")[0])
