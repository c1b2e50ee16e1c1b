"""Many clients at once, on one thread: each sends its request, and what comes back is gathered while a condition is waited for."""
import selectors
import socket
import time


class Member:
    def __init__(self, port, request):
        self.socket = socket.socket()
        self.socket.connect(("127.0.0.1", port))
        self.socket.setblocking(False)
        self.request, self.received, self.ended = request, bytearray(), False

    @property
    def body(self):
        """What follows the head, as it is on the wire."""
        return bytes(self.received.partition(b"\r\n\r\n")[2])

    @property
    def status(self):
        return int(self.received.split(b" ", 2)[1]) if b"\r\n" in self.received else None


class Crowd:
    def __init__(self, port, count, request):
        self.selector = selectors.DefaultSelector()
        self.members = [Member(port, request(i) if callable(request) else request) for i in range(count)]
        for member in self.members:
            self.selector.register(member.socket, selectors.EVENT_READ, member)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for member in self.members:
            member.socket.close()
        self.selector.close()

    def send(self):
        for member in self.members:
            member.socket.sendall(member.request)
        return self

    def until(self, condition, timeout=60.0, what="every member of the crowd"):
        """Reads until condition(member) holds for every member."""
        waiting = {member for member in self.members if not condition(member)}
        deadline = time.monotonic() + timeout
        while waiting:
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(waiting)} of {len(self.members)} still wait for {what}; one has {bytes(next(iter(waiting)).received)!r}")
            for key, _ in self.selector.select(0.05):
                member = key.data
                try:
                    data = member.socket.recv(1 << 18)
                except BlockingIOError:
                    continue
                except ConnectionResetError:
                    data = b""
                if data:
                    member.received += data
                else:
                    member.ended = True
                    self.selector.unregister(member.socket)
                if condition(member):
                    waiting.discard(member)
                elif member.ended:
                    raise AssertionError(f"a member's connection ended while it waited for {what}: {bytes(member.received)!r}")
