"""A name server that does as it is told (UDP, RFC 1035)."""
import ipaddress
import socket
import struct
import threading

TYPES = {1: "A", 28: "AAAA"}


class NameServer:
    """`records`: {name: [(address, ttl), …]}; a name that is missing is NXDOMAIN. `mode`: "answer", "servfail", "silent" or "garbage"."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.records, self.mode, self.questions = {}, "answer", []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                packet, client = self.socket.recvfrom(4096)
            except OSError:
                return
            name, kind, end = self._question(packet)
            self.questions.append((name, TYPES.get(kind, str(kind))))
            if self.mode == "silent":
                continue
            self.socket.sendto(b"\xff" * 24 if self.mode == "garbage" else self._answer(packet, name, kind, end), client)

    @staticmethod
    def _question(packet):
        at, labels = 12, []
        while packet[at]:
            labels.append(packet[at + 1 : at + 1 + packet[at]].decode().lower())
            at += 1 + packet[at]
        return ".".join(labels), struct.unpack("!H", packet[at + 1 : at + 3])[0], at + 5

    def _answer(self, packet, name, kind, end):
        known = self.records.get(name)
        code = 2 if self.mode == "servfail" else 3 if known is None else 0
        answers = b""
        count = 0
        for address, ttl in (known or []) if code == 0 else []:
            ip = ipaddress.ip_address(address)
            if (kind, ip.version) in ((1, 4), (28, 6)):
                answers += b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, ttl, len(ip.packed)) + ip.packed
                count += 1
        return packet[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, count, 0, 0) + packet[12:end] + answers

    def stop(self):
        self.socket.close()
