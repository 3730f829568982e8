# Typing into the terminal of whoever started the tests.
# expect: ok
# require: held
import fcntl, termios
for fd in range(0, 12):
    refused(f"inject {fd}", fcntl.ioctl, fd, termios.TIOCSTI, b"x")
    refused(f"linux subcode {fd}", fcntl.ioctl, fd, 0x541C, b"\3")
refused("tty", lambda: os.open("/dev/tty", os.O_RDWR))
