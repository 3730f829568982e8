# The listener on the host's loopback is not reached.
# expect: ok
# require: held
import socket
refused("create_connection", socket.create_connection, ("127.0.0.1", host.tcp_port), 0.3)
refused("socket", socket.socket)
refused("ipv6", socket.socket, socket.AF_INET6)
refused("raw", socket.socket, socket.AF_INET, socket.SOCK_RAW, 1)
refused("netlink", socket.socket, socket.AF_NETLINK, socket.SOCK_RAW)
refused("packet", socket.socket, socket.AF_PACKET, socket.SOCK_RAW)
refused("vsock", socket.socket, 40, socket.SOCK_STREAM)
import urllib.request
refused("urllib", urllib.request.urlopen, f"http://127.0.0.1:{host.tcp_port}/", None, 0.3)
import http.client
refused("http", lambda: http.client.HTTPConnection("127.0.0.1", host.tcp_port, timeout=0.3).connect())
