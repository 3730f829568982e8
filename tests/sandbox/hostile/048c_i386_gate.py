# Calls through int 0x80 carry other numbers: 2 is fork there, 20 is getpid.
# expect: ok crashed state-lost error
# effect: processes_bounded
import mmap
if X86:
    # mov eax, 20; int 0x80; ret
    code = b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    result = function()
    print("ESCAPED getpid by int 0x80" if result == os.getpid() else "held", result)
print("held")
