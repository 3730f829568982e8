# expect: ok
# require: held
# effect: processes_bounded
import subprocess
refused("run", subprocess.run, ["echo", "x"])
refused("shell", subprocess.check_output, f"touch {host.folder}/made.txt", shell=True)
refused("popen", lambda: subprocess.Popen([sys.executable, "-c", "1"], preexec_fn=lambda: None, start_new_session=True))
subprocess._USE_POSIX_SPAWN = subprocess._USE_VFORK = False
refused("no vfork", subprocess.run, ["/bin/true"])
refused("pty", lambda: __import__("pty").spawn("/bin/sh"))
