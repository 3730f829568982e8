# Every call that belongs to administrators, debuggers or other processes is stopped by the filter itself: with
# nonsense as arguments, an answer such as EFAULT, EINVAL or EBADF would mean that the kernel had been reached.
# expect: ok
# require: held
FILTERED = """ptrace process_vm_readv process_vm_writev process_madvise process_mrelease pidfd_getfd kcmp socket
io_uring_setup io_uring_enter memfd_create memfd_secret userfaultfd bpf perf_event_open add_key request_key keyctl
name_to_handle_at open_by_handle_at unshare setns mount umount2 pivot_root chroot open_tree move_mount fsopen fsconfig
fsmount fspick mount_setattr mknodat adjtimex clock_adjtime settimeofday clock_settime fanotify_init fanotify_mark
shmget shmat semget semop msgget msgsnd mq_open mq_unlink kexec_load kexec_file_load init_module finit_module
delete_module reboot swapon swapoff sethostname setdomainname syslog acct quotactl quotactl_fd iopl ioperm modify_ldt
uselib vhangup setgroups migrate_pages move_pages lookup_dcookie listmount statmount setxattr execve execveat
open_tree_attr pidfd_send_signal""".split()
for name in FILTERED:
    if NR[name] == 0:
        continue
    try:
        result = syscall(name, -1, -1, -1, -1, -1, 0)
    except OSError as error:
        verdict = errno.errorcode.get(error.errno, str(error.errno))
    else:
        verdict = f"returned {result}"
    print("held" if verdict in ("EPERM", "EACCES", "ENOSYS") else "ESCAPED", name, verdict)
