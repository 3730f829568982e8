# expect: ok
# require: held
refused("execv", os.execv, "/bin/sh", ["sh", "-c", "echo ESCAPED"])
refused("execve python", os.execve, sys.executable, ["python", "-c", "print('ESCAPED')"], {})
refused("spawn", os.posix_spawn, "/bin/sh", ["sh", "-c", f"echo x > {host.folder}/made.txt"], {})
argv = (ctypes.c_char_p * 2)(b"sh", None)
refused("raw execve", syscall, "execve", b"/bin/sh", argv, None)
refused("execveat", syscall, "execveat", -100, b"/bin/sh", argv, None, 0)
def script():
    import tempfile
    path = tempfile.gettempdir() + "/run.sh"
    with open(path, "w") as file:
        file.write("#!/bin/sh\necho ESCAPED\n")
    os.chmod(path, 0o755)
    os.execv(path, [path])
refused("own script", script)
status = os.system(f"echo x > {host.folder}/made.txt")
print("held system" if status != 0 else "ESCAPED system")
