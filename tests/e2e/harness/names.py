"""A name server that does as it is told (RFC 1035): over UDP, and over TCP what does not fit there."""
import ipaddress
import socket
import struct
import threading

from .accepting import Accepting
from .ports import free_port

TYPES = {1: "A", 28: "AAAA"}
UDP_MAX_BYTES = 512
TRUNCATED = 0x0200


class NameServer:
    """`records`: {name: [(address, ttl), …]}; a name that is missing is NXDOMAIN. `mode`: "answer", "servfail", "silent" or "garbage"; `modes` has it for
    single names. `questions`: (name, type) of everything that was asked, in order."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.port = free_port()
        self.socket.bind(("127.0.0.1", self.port))
        listener = socket.create_server(("127.0.0.1", self.port))
        self.records, self.mode, self.modes, self.questions = {}, "answer", {}, []
        self.ended = False
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        self.accepting = Accepting(listener, self._serve_tcp)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def count(self, name, kind="A"):
        return self.questions.count((name, kind))

    def _serve(self):
        while True:
            packet, client = self.socket.recvfrom(4096)
            if self.ended:
                return
            if answer := self._respond(packet):
                self.socket.sendto(answer if len(answer) <= UDP_MAX_BYTES else self._cut(packet, answer), client)

    def _serve_tcp(self, client):
        with client:
            packet = client.recv(4096)[2:]
            if answer := self._respond(packet):
                client.sendall(struct.pack("!H", len(answer)) + answer)

    def _respond(self, packet):
        """None: not a word."""
        name, kind, end = self._question(packet)
        self.questions.append((name, TYPES.get(kind, str(kind))))
        mode = self.modes.get(name, self.mode)
        if mode == "silent":
            return None
        return b"\xff" * 24 if mode == "garbage" else self._answer(packet, name, kind, end, mode)

    @staticmethod
    def _cut(packet, answer):
        flags = struct.unpack("!H", answer[2:4])[0] | TRUNCATED
        return packet[:2] + struct.pack("!HHHHH", flags, 1, 0, 0, 0) + packet[12:]

    @staticmethod
    def _question(packet):
        at, labels = 12, []
        while packet[at]:
            labels.append(packet[at + 1 : at + 1 + packet[at]].decode().lower())
            at += 1 + packet[at]
        return ".".join(labels), struct.unpack("!H", packet[at + 1 : at + 3])[0], at + 5

    def _answer(self, packet, name, kind, end, mode):
        known = self.records.get(name)
        code = 2 if mode == "servfail" else 3 if known is None else 0
        answers = b""
        count = 0
        for address, ttl in (known or []) if code == 0 else []:
            ip = ipaddress.ip_address(address)
            if (kind, ip.version) in ((1, 4), (28, 6)):
                answers += b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, ttl, len(ip.packed)) + ip.packed
                count += 1
        return packet[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, count, 0, 0) + packet[12:end] + answers

    def stop(self):
        self.ended = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", ("127.0.0.1", self.port))
        self.thread.join(5)
        self.socket.close()
        self.accepting.stop()
