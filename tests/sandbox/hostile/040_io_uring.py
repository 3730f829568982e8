# expect: ok
# require: held
params = ctypes.create_string_buffer(256)
refused("setup", syscall, "io_uring_setup", 4, params)
refused("enter", syscall, "io_uring_enter", 3, 0, 0, 0, 0, 0)
