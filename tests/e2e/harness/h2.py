"""HTTP/2 clients: one that keeps to the protocol as far as it is told to, and sends any frame it is given (RFC 9113)."""
import socket
import struct

import hpack

from .http import Response
from .outrigger import SLOW
from .ports import free_port

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
PRIORITY_UPDATE = 16
END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE, _, ENABLE_CONNECT, NO_PRIORITIES = range(1, 10)
(NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL,
 COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM) = range(12)


def serve_http2(make, config=None, **options):
    """An accelerator by that fixture, whose `port` speaks HTTP/2 and HTTP/1.1."""
    port = free_port()
    outrigger = make(config={"listen": [{"address": f"127.0.0.1:{port}", "http2": True}], **(config or {})}, **options)
    outrigger.port = port
    return outrigger


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(*pairs):
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", *pair) for pair in pairs))


def window_update(stream, increment):
    return frame(WINDOW_UPDATE, stream=stream, payload=struct.pack(">I", increment))


def reset(stream, code=CANCEL):
    return frame(RST_STREAM, stream=stream, payload=struct.pack(">I", code))


def literal(name, value):
    """A field without any compression, so that nothing is between the test and the wire."""
    name, value = (text.encode("latin-1") if isinstance(text, str) else text for text in (name, value))
    return b"\0" + number(len(name)) + name + number(len(value)) + value


def number(value, prefix=7):
    most = (1 << prefix) - 1
    if value < most:
        return bytes([value])
    out, value = bytes([most]), value - most
    while value >= 128:
        out, value = out + bytes([value % 128 + 128]), value // 128
    return out + bytes([value])


def block(fields):
    return b"".join(literal(name, value) for name, value in fields)


def request(path="/page", method="GET", authority="site.test", scheme="http", fields=()):
    return [(":method", method), (":scheme", scheme), (":path", path), (":authority", authority), *fields]


class Frame:
    def __init__(self, kind, flags, stream, payload):
        self.kind, self.flags, self.stream, self.payload = kind, flags, stream, payload

    def __repr__(self):
        return f"<{self.kind} flags={self.flags:#x} stream={self.stream} {self.payload[:40]!r}>"

    @property
    def code(self):
        return struct.unpack(">I", self.payload[4:8] if self.kind == GOAWAY else self.payload[:4])[0]

    @property
    def last_stream(self):
        return struct.unpack(">I", self.payload[:4])[0]


class Ended(Exception):
    """The server closed the connection."""


class H2:
    """A connection. `say`: the pairs of its settings; None: it says nothing at all, not even the preface."""

    def __init__(self, port, say=(), timeout=15.0, receive_buffer=None, window=None, wrap=None, answers=True):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout * SLOW)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if wrap:
            self.socket = wrap(self.socket)
        self.buffer, self.decoder, self.encoder = b"", hpack.Decoder(), hpack.Encoder()
        self.decoder.max_allowed_table_size = 65536
        self.answers = answers  # to settings and pings
        self.next_stream, self.server_settings = 1, {}
        self.streams = {}
        self.windows = {0: 65535}  # what may be sent
        if say is not None:
            self.send(PREFACE + settings(*say) + (window_update(0, window) if window else b""))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, *frames):
        self.socket.sendall(b"".join(frames))
        return self

    def try_to_send(self, *frames):
        """False when the server has closed the connection already."""
        try:
            self.send(*frames)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def _fill(self, count):
        while len(self.buffer) < count:
            try:
                data = self.socket.recv(262144)
            except ConnectionResetError:
                data = b""
            if not data:
                raise Ended
            self.buffer += data

    def read(self):
        """The next frame. Settings and pings are answered."""
        self._fill(9)
        length = int.from_bytes(self.buffer[:3], "big")
        self._fill(9 + length)
        kind, flags, stream = struct.unpack(">BBI", self.buffer[3:9])
        got = Frame(kind, flags, stream & 0x7FFFFFFF, self.buffer[9 : 9 + length])
        self.buffer = self.buffer[9 + length :]
        if kind == SETTINGS and not flags & ACK:
            for at in range(0, length, 6):
                identifier, value = struct.unpack(">HI", got.payload[at : at + 6])
                self.server_settings[identifier] = value
            if self.answers:
                self.try_to_send(frame(SETTINGS, ACK))
        elif kind == PING and not flags & ACK and self.answers:
            self.try_to_send(frame(PING, ACK, payload=got.payload))
        elif kind == WINDOW_UPDATE:
            self.windows[got.stream] = self.window_of(got.stream) + got.last_stream
        elif kind == HEADERS:
            while not got.flags & END_HEADERS:
                rest = self.read()
                assert rest.kind == CONTINUATION and rest.stream == got.stream, rest
                got.payload, got.flags = got.payload + rest.payload, got.flags | rest.flags
            got.fields = self.decoder.decode(got.payload)
        return got

    def window_of(self, stream):
        return self.windows.get(stream, self.server_settings.get(INITIAL_WINDOW_SIZE, 65535))

    def upload(self, stream, body, ends=True):
        """As the server's windows allow; what comes meanwhile is kept for response()."""
        while True:
            room = min(16384, len(body), self.window_of(0), self.window_of(stream))
            if room or not body:
                self.data(stream, body[:room], ends=ends and room == len(body))
                body = body[room:]
            if not body:
                return
            if not min(self.window_of(0), self.window_of(stream)):
                self._keep(self.read())

    def _keep(self, got, update=True):
        if got.stream:
            self.streams.setdefault(got.stream, []).append(got)
        if got.kind == DATA and update and got.payload:
            self.try_to_send(window_update(0, len(got.payload)), window_update(got.stream, len(got.payload)))

    def read_until(self, wanted):
        """Frames up to the first for which wanted(frame)."""
        while True:
            got = self.read()
            if wanted(got):
                return got

    def read_kind(self, kind, stream=None):
        return self.read_until(lambda got: got.kind == kind and stream in (None, got.stream))

    def end(self):
        """Everything up to the end of the connection."""
        frames = []
        try:
            while True:
                frames.append(self.read())
        except Ended:
            return frames

    def goaway(self):
        """How the server ended the connection: the last GOAWAY; None: without a word."""
        goaways = [got for got in self.end() if got.kind == GOAWAY]
        return goaways[-1] if goaways else None

    def ping(self):
        """A round trip: the server has seen everything before it."""
        self.send(frame(PING, payload=b"roundtri"))
        self.read_until(lambda got: got.kind == PING and got.flags & ACK and got.payload == b"roundtri")
        return self

    def ask(self, path="/page", ends=True, flags=0, **options):
        """Sends a request; returns its stream."""
        return self.ask_fields(request(path, **options), ends, flags)

    def ask_fields(self, fields, ends=True, flags=0):
        stream, self.next_stream = self.next_stream, self.next_stream + 2
        self.send(frame(HEADERS, END_HEADERS | (END_STREAM if ends else 0) | flags, stream, block(fields)))
        return stream

    def data(self, stream, payload=b"", ends=False):
        self.windows[0], self.windows[stream] = self.window_of(0) - len(payload), self.window_of(stream) - len(payload)
        return self.send(frame(DATA, END_STREAM if ends else 0, stream, payload))

    def response(self, stream, update=True):
        """The whole response of a stream. A reset is one that is not complete; `interim` has the 1xx before it. Frames of other streams are kept."""
        while not self._is_over(stream):
            got = self.read()
            if got.kind == GOAWAY and got.code != NO_ERROR:
                raise Ended
            self._keep(got, update)
        return self._assemble(self.streams.pop(stream))

    def _is_over(self, stream):
        return any(got.kind == RST_STREAM or (got.kind in (DATA, HEADERS) and got.flags & END_STREAM) for got in self.streams.get(stream, ()))

    @staticmethod
    def _assemble(frames):
        heads = [got.fields for got in frames if got.kind == HEADERS]
        body = b"".join(got.payload for got in frames if got.kind == DATA)
        resets = [got for got in frames if got.kind == RST_STREAM]
        whole = any(got.kind in (DATA, HEADERS) and got.flags & END_STREAM for got in frames)
        fields = heads[-1] if heads else []
        status = int(dict(fields)[":status"]) if fields else None
        response = Response(status, "", [(n, v) for n, v in fields if not n.startswith(":")], body, whole)
        response.reset = resets[0].code if resets else None
        response.interim = [dict(head) for head in heads[:-1]]
        response.frames = frames
        return response

    def get(self, path="/page", **options):
        return self.response(self.ask(path, **options))
