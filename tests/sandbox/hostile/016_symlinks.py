# A symbolic link in the scratch folder leads nowhere.
# expect: ok
# require: held
import tempfile
def through(target, mode):
    link = os.path.join(tempfile.gettempdir(), "link" + str(time.monotonic_ns()))
    os.symlink(target, link)
    with open(link, mode) as file:
        return file.write("x") if "w" in mode else file.read()
for target in (host.secret_file, "../" * 12 + host.secret_file.lstrip("/"), "/etc/passwd", "/proc/1/root/etc/passwd"):
    refused("read " + target[-12:], through, target, "r")
refused("write", through, host.folder + "/made.txt", "w")
refused("write file", through, host.secret_file, "w")
