# A vfork whose child would run on in the parent's memory.
# expect: ok
# require: held
# effect: processes_bounded
def vfork():
    result = syscall("vfork") if X86 else syscall("clone", 17 | 0x4100, 0, 0, 0, 0)
    if result == 0:
        libc._exit(0)
    return result
refused("vfork", vfork)
