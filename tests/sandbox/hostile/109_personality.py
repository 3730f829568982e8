# expect: ok
# require: held
def change(value):
    before = syscall("personality", 0xFFFFFFFF)
    syscall("personality", before | value)
    after = syscall("personality", 0xFFFFFFFF)
    if after == before:
        raise OSError(errno.EPERM, "unchanged")
    return after
refused("no address randomisation", change, 0x0040000)
refused("read implies exec", change, 0x0400000)
refused("32 bit", change, 8)
