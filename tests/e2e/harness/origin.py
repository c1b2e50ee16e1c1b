"""An origin that does as it is told: a threaded server on bare sockets. Handlers are given the parsed request and the socket, and may send any bytes."""
import contextlib
import socket
import threading

from .accepting import Accepting
from .http import Connection, Truncated
from .ports import free_port


class CloseConnection(Exception):
    """Raised by a handler: the connection ends now."""


class Request:
    """What arrived, and the means to answer it."""

    def __init__(self, connection, method, target, version, fields, body, number):
        self.connection, self.method, self.target, self.version = connection, method, target, version
        self.fields, self.body, self.connection_number = fields, body, number

    def get(self, name, default=None):
        values = [v for n, v in self.fields if n.lower() == name.lower()]
        return ", ".join(values) if values else default

    def names(self):
        return {n.lower() for n, _ in self.fields}

    def send(self, data):
        self.connection.send(data)

    def answer(self, body=b"", status="200 OK", fields=(), length=True):
        body = body.encode() if isinstance(body, str) else body
        pairs = list(fields.items()) if isinstance(fields, dict) else list(fields)
        head = [f"HTTP/1.1 {status}"] + [f"{n}: {v}" for n, v in pairs] + ([f"Content-Length: {len(body)}"] if length else [])
        self.send("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + (b"" if self.method == "HEAD" else body))

    def echo(self):
        """Sends back all that comes, of a connection that speaks another protocol now, until it ends."""
        data = self.connection.buffer
        while data or (data := self.connection.socket.recv(65536)):
            self.connection.socket.sendall(data)
            data = b""
        raise CloseConnection


class Origin:
    """`handlers` maps a path (or "*") to a function of a Request. `requests` is everything that arrived, in order."""

    def __init__(self, port=0, address="127.0.0.1", tls=None):
        """`tls`: an ssl.SSLContext to serve with."""
        self.listener = socket.create_server((address, port or free_port()), backlog=2048, family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.port = self.listener.getsockname()[1]
        self.handlers, self.requests, self.connections, self.lock = {}, [], 0, threading.Lock()
        self.open = set()
        self.read_bodies = True
        self.tls, self.handshakes_failed = tls, []
        self.accepting = Accepting(self.listener, self._accepted)

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def on(self, path, handler):
        """`handler` may be a function of the Request, or a body to answer with."""
        if not callable(handler):
            body = handler
            handler = lambda request: request.answer(body, fields={"Cache-Control": "max-age=60"})
        self.handlers[path] = handler
        return self

    def count(self, path=None):
        with self.lock:
            return sum(1 for r in self.requests if path is None or r.target == path)

    def last(self, path=None):
        with self.lock:
            return [r for r in self.requests if path is None or r.target == path][-1]

    def _accepted(self, client):
        with self.lock:
            self.connections += 1
            number = self.connections
            self.open.add(client)
        threading.Thread(target=self._serve, args=(client, number), daemon=True).start()

    def _serve(self, client, number):
        connection = Connection.__new__(Connection)
        connection.socket, connection.buffer = client, b""
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(Truncated, OSError, CloseConnection):
            if self.tls:
                connection.socket = self._shake_hands(client)
            while True:
                self._serve_one(connection, number)
        with self.lock:
            self.open.discard(connection.socket)
        connection.socket.close()

    def _shake_hands(self, client):
        try:
            wrapped = self.tls.wrap_socket(client, server_side=True)
        except OSError as error:
            with self.lock:
                self.handshakes_failed.append(error)
                self.open.discard(client)
            raise
        with self.lock:
            self.open.discard(client)
            self.open.add(wrapped)
        return wrapped

    def _serve_one(self, connection, number):
        lines = connection.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        method, target, version = lines[0].split(" ")
        fields = [(n, v.strip()) for n, v in (line.split(":", 1) for line in lines[1:])]
        request = Request(connection, method, target, version, fields, b"", number)
        with self.lock:
            self.requests.append(request)
        if self.read_bodies:
            request.body = self._body(connection, request)
        path = target.split("?")[0]
        handler = self.handlers.get(target) or self.handlers.get(path) or self.handlers.get("*")
        if handler is None:
            request.answer("no handler\n", "404 Not Found")
        else:
            handler(request)

    @staticmethod
    def _body(connection, request):
        if (request.get("transfer-encoding") or "").lower() == "chunked":
            body = b""
            while data := connection.chunk():
                body += data
            return body
        return connection.read_exactly(int(request.get("content-length") or 0))

    def close_connections(self):
        """Ends every connection, as an origin that restarts does."""
        with self.lock:
            clients = list(self.open)
        for client in clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def stop(self):
        self.accepting.stop()
        self.close_connections()
