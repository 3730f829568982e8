# A name query sent by hand to a listener on the loopback never arrives.
# expect: ok
# require: held
import socket
def query():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    packet = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06podium\x07invalid\x00\x00\x01\x00\x01"
    return sock.sendto(packet, ("127.0.0.1", host.udp_port))
refused("query", query)
