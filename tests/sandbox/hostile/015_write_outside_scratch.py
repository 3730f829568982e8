# Nothing outside the scratch folder can be written.
# expect: ok
# require: held
import sysconfig
targets = [host.folder + "/made.txt", host.secret_file, "/etc/podium_hostile", "/usr/podium_hostile",
           "/podium_hostile", "/dev/podium_hostile", "/lib/podium_hostile", "/root/podium_hostile",
           os.path.join(sysconfig.get_paths()["stdlib"], "podium_hostile.py"),
           os.path.join(os.path.dirname(os.__file__), "os.py"), sys.executable,
           "/proc/self/oom_score_adj", "/proc/self/comm", "/proc/sys/kernel/hostname", "/sys/kernel/mm/x"]
for path in targets:
    def write(path=path):
        with open(path, "a") as file:
            file.write("x")
    refused(path[-25:], write)
refused("truncate", os.truncate, os.__file__, 0)
refused("unlink", os.unlink, os.__file__)
refused("rename", os.rename, os.__file__, os.__file__ + "x")
refused("chmod", os.chmod, os.__file__, 0o777)
refused("utime", os.utime, os.__file__, (0, 0))
refused("mkdir", os.mkdir, host.folder + "/made")
refused("rmdir", os.rmdir, os.path.dirname(os.__file__) + "/email")
refused("chown", os.chown, os.__file__, 65534, 65534)
