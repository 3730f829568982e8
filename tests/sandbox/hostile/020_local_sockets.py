# Neither abstract nor path sockets of the host are reached.
# expect: ok
# require: held
import socket
def connect(address):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(0.3)
    sock.connect(address)
    return sock.send(b"hello")
refused("abstract", connect, "\0" + host.abstract)
refused("path", connect, host.unix_path)
def datagram(address):
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    return one.sendto(b"hello", address)
refused("datagram from a pair, abstract", datagram, "\0" + host.abstract_datagram)
def reconnect(address):
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.connect(address)
    return one.send(b"hello")
refused("reconnected pair, abstract", reconnect, "\0" + host.abstract_datagram)
refused("bind", lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)[0].bind("\0podium-hostile"))
