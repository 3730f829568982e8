# The classic way out of a container: a handle of the root directory.
# expect: ok
# require: held
handle = ctypes.create_string_buffer((8).to_bytes(4, "little") + (1).to_bytes(4, "little") + (2).to_bytes(8, "little") + bytes(128))
mount_id = ctypes.c_int()
refused("name_to_handle_at", syscall, "name_to_handle_at", -100, b"/", handle, ctypes.byref(mount_id), 0)
for fd in range(0, 6):
    refused(f"open_by_handle_at {fd}", syscall, "open_by_handle_at", fd, handle, 0)
refused("open_by_handle_at cwd", syscall, "open_by_handle_at", -100, handle, 0)
