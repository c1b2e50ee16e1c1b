"""A client on a bare socket: sends exactly the bytes it is given, and reads responses by the book (RFC 9112 §6)."""
import socket
import struct


class Response:
    def __init__(self, status, reason, fields, body=b"", complete=True):
        self.status, self.reason, self.fields, self.body, self.complete = status, reason, fields, body, complete

    def get(self, name, default=None):
        values = self.all(name)
        return ", ".join(values) if values else default

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name.lower()]

    def __repr__(self):
        return f"<{self.status} {self.fields} {self.body[:80]!r}{'' if self.complete else ' TRUNCATED'}>"


class Truncated(Exception):
    pass


class Connection:
    """One TCP (or Unix) connection to `address`: a port of 127.0.0.1, an (address, port) pair or a path."""

    def __init__(self, address, timeout=15.0, receive_buffer=None):
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
        else:
            self.socket = socket.socket()
            if receive_buffer:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect(("127.0.0.1", address) if isinstance(address, int) else address)
        if not isinstance(address, str):
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        """Ends the connection so that the peer learns of it at once (RST), in both directions."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data.encode("latin-1") if isinstance(data, str) else data)
        return self

    def end_sending(self):
        self.socket.shutdown(socket.SHUT_WR)

    def _more(self):
        """False at the end of the stream; a reset is an end that cuts off."""
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            return None
        self.buffer += data
        return bool(data)

    def read_until(self, mark):
        while mark not in self.buffer:
            if not self._more():
                raise Truncated(self.buffer)
        line, self.buffer = self.buffer.split(mark, 1)
        return line

    def read_exactly(self, count):
        while len(self.buffer) < count:
            if not self._more():
                raise Truncated(self.buffer)
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def read_to_end(self):
        """Everything until the peer closes; a reset counts as an end too."""
        while self._more():
            pass
        data, self.buffer = self.buffer, b""
        return data

    def closed_by_peer(self):
        """True when the peer ends the connection (cleanly or not) without sending anything more."""
        try:
            return self.buffer == b"" and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def head(self):
        lines = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status, *reason = lines[0].split(" ", 2)
        assert version in ("HTTP/1.1", "HTTP/1.0"), lines[0]
        fields = [(n, v.strip()) for n, v in (line.split(":", 1) for line in lines[1:])]
        return Response(int(status), reason[0] if reason else "", fields)

    def chunk(self):
        """The data of the next chunk; b"" for the last one (its trailer section is read too)."""
        size = int(self.read_until(b"\r\n").split(b";")[0], 16)
        data = self.read_exactly(size)
        if size == 0:
            while self.read_until(b"\r\n"):
                pass
        else:
            assert self.read_exactly(2) == b"\r\n"
        return data

    def response(self, method="GET", interim=None):
        """The next final response; 1xx ones are appended to `interim`. A body that breaks off gives complete=False."""
        response = self.head()
        while 100 <= response.status < 200 and response.status != 101:
            if interim is not None:
                interim.append(response)
            response = self.head()
        if method == "HEAD" or response.status in (101, 204, 304):
            return response
        try:
            if (response.get("transfer-encoding") or "").lower() == "chunked":
                while data := self.chunk():
                    response.body += data
            elif response.get("content-length") is not None:
                response.body = self.read_exactly(int(response.get("content-length")))
            else:
                while more := self._more():
                    pass
                response.complete = more is False
                response.body, self.buffer = self.buffer, b""
        except Truncated as cut:
            response.body, response.complete = response.body + (cut.args[0] if not response.get("transfer-encoding") else b""), False
        return response

    def request(self, target="/", method="GET", host="site.test", fields=(), body=None, version="1.1"):
        """Sends one well-formed request and reads its response. `fields`: a dict or pairs."""
        pairs = list(fields.items()) if isinstance(fields, dict) else list(fields)
        lines = [f"{method} {target} HTTP/{version}"] + ([f"Host: {host}"] if host is not None else []) + [f"{n}: {v}" for n, v in pairs]
        if body is not None and not any(n.lower() in ("content-length", "transfer-encoding") for n, _ in pairs):
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines) + "\r\n\r\n")
        if body:
            self.send(body)
        return self.response(method)


def get(address, target="/", **options):
    """One request on a connection of its own."""
    with Connection(address) as connection:
        return connection.request(target, **options)
