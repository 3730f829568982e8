# No hard link to anything of the host.
# expect: ok
# require: held
import tempfile
def scratch(name):
    return f"{tempfile.gettempdir()}/{name}{time.monotonic_ns()}"
for source in (host.secret_file, os.__file__, sys.executable):
    refused("link", lambda source=source: os.link(source, scratch("hard")))
    refused("rename", lambda source=source: os.rename(source, scratch("moved")))
refused("into the folder", os.link, os.__file__, host.folder + "/made.txt")
