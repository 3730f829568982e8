# expect: ok
# require: held
# effect: mounts_untouched
for flag in (0x10000000, 0x00020000, 0x20000000, 0x40000000, 0x08000000, 0x04000000, 0x02000000, 0x80,
             0x10000000 | 0x00020000):
    refused(f"unshare {flag:#x}", syscall, "unshare", flag)
refused("mount tmpfs", syscall, "mount", b"none", b"/tmp", b"tmpfs", 0, None)
refused("mount proc", syscall, "mount", b"proc", b"/tmp", b"proc", 0, None)
refused("bind", syscall, "mount", b"/", b"/tmp", None, 4096, None)
refused("remount rw", syscall, "mount", None, b"/", None, 32 | 4096, None)
refused("umount", syscall, "umount2", b"/", 2)
refused("umount tmp", syscall, "umount2", b"/tmp", 2)
refused("pivot", syscall, "pivot_root", b"/", b"/")
refused("chroot", os.chroot, "/tmp")
refused("fsopen", syscall, "fsopen", b"tmpfs", 0)
refused("open_tree", syscall, "open_tree", -100, b"/", 1)
refused("mount_setattr", syscall, "mount_setattr", -100, b"/", 0, ctypes.create_string_buffer(32), 32)
refused("setns", syscall, "setns", 0, 0)
