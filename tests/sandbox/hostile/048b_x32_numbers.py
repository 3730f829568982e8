# Calls of the x32 table are refused or kill the session; the kernel may lack them altogether.
# expect: ok crashed state-lost
# effect: processes_bounded
if X86:
    for number in (57, 41, 59, 39):
        refused(f"x32 {number}", syscall, 0x40000000 | number, 0, 0, 0)
print("held")
