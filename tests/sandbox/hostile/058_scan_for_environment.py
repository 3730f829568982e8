# The launcher's environment is not in this process's memory: the stack, above which the kernel puts it, is read
# through a pipe, which answers EFAULT where there is nothing instead of crashing.
# expect: ok
# require: scanned True
# require: held
# forbid: PODIUM_CANARY
context = ctypes.create_string_buffer(8192)
assert libc.getcontext(context) == 0
at = 160 if X86 else 432  # where glibc's ucontext_t has the stack pointer
page = int.from_bytes(context.raw[at : at + 8], "little") & ~4095
reader, writer = os.pipe()
data = b""
while libc.write(writer, ctypes.c_void_p(page), ctypes.c_size_t(4096)) == 4096:
    data += os.read(reader, 4096)
    page += 4096
wanted = "PODIUM_".encode() + "CANARY=".encode()
# The zygote's own environment lies at the very end: so the scan did reach the place.
print("scanned", b"OPENBLAS_NUM_THREADS=" in data, len(data))
print("ESCAPED" if wanted in data else "held")
