"""An address where connecting takes for ever: its queue of connections is full, so the kernel drops every SYN."""
import socket

from .poll import until


class Deaf:
    def __init__(self, address=("127.0.0.1", 0)):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(address)
        self.listener.listen(0)  # full with one
        self.address = self.listener.getsockname()
        self.first = socket.create_connection(self.address)
        until(self._is_full, what="a full queue")

    def _is_full(self):
        host, port = self.address
        local = f"{int.from_bytes(socket.inet_aton(host), 'little'):08X}:{port:04X}"
        rows = [line.split() for line in open("/proc/net/tcp").read().splitlines()[1:]]
        return any(row[1] == local and row[3] == "0A" and int(row[4].split(":")[1], 16) > 0 for row in rows)

    @property
    def url(self):
        return "http://{}:{}".format(*self.address)

    def stop(self):
        self.first.close()
        self.listener.close()
