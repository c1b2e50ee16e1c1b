"""Of a large response whose client does not read, the kernel is given little: what is more urgent need not wait behind it, and many such clients cost little.

The client's receive buffer is as small as can be, so that what was sent lies in the server's kernel."""
import socket

import pytest

from harness.certificates import client_context, serve_every_protocol
from harness.h2 import *
from harness.outrigger import SLOW
from harness.poll import until

LARGE, LITTLE = 8_000_000, 4096
UNSENT_MAX = 256 << 10  # SOCKET_UNSENT_MAX_BYTES
MOST = UNSENT_MAX + (192 << 10)  # with a packet, and what was sent and lies with the client; without the bound it would be 2.7 MB


@pytest.fixture(scope="module")
def edge(tmp_path_factory, back):
    kept = {"Cache-Control": "max-age=36000"}
    back.on("/large", lambda request: request.answer(bytes(LARGE), fields=kept)).on("/small", lambda request: request.answer("small", fields=kept))
    edge = serve_every_protocol(tmp_path_factory, back, ["/large", "/small"], {"workers": 1})
    yield edge
    edge.stop()


def connect(edge, by_tls, alpn):
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LITTLE)
    client.settimeout(30 * SLOW)
    client.connect(("127.0.0.1", edge.tls_port if by_tls else edge.port))
    return client_context(alpn=[alpn]).wrap_socket(client, server_hostname="site.test") if by_tls else client


def wrapped(edge, by_tls):
    return (lambda plain: client_context(alpn=["h2"]).wrap_socket(plain, server_hostname="site.test")) if by_tls else None


def http2(edge, by_tls):
    """A connection whose windows hold nothing back."""
    return H2(edge.tls_port if by_tls else edge.port, say=[(INITIAL_WINDOW_SIZE, 1 << 30)], window=1 << 30, receive_buffer=LITTLE, wrap=wrapped(edge, by_tls))


def queued(client):
    """In the kernel, of what the server sent to this client: its queue as /proc/net/tcp has it."""
    server, ours = (f":{address[1]:04X}" for address in (client.getpeername(), client.getsockname()))
    rows = [line.split() for line in open("/proc/net/tcp").read().splitlines()[1:]]
    return next(int(row[4].split(":")[0], 16) for row in rows if row[1].endswith(server) and row[2].endswith(ours))


def settled(edge, client):
    """What is queued once no more comes: a turn of the loop lies between two looks."""
    seen = [0]

    def is_settled():
        edge.get("/small", host="site.test")
        seen.append(queued(client))
        return seen[-1] > UNSENT_MAX // 2 and seen[-1] == seen[-2]

    until(is_settled, what="the kernel to be full")
    return seen[-1]


@pytest.mark.parametrize("by_tls", [False, True], ids=["plain", "TLS"])
def test_of_a_response_that_is_not_read_little_is_sent(edge, by_tls):
    with connect(edge, by_tls, "http/1.1") as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n")
        assert settled(edge, client) <= MOST
        got = 0
        while data := client.recv(1 << 20):
            got += len(data)
        assert got > LARGE


@pytest.mark.parametrize("by_tls", [False, True], ids=["plain", "TLS"])
def test_what_is_more_urgent_overtakes_what_is_under_way(edge, by_tls):
    with http2(edge, by_tls) as client:
        client.ask("/large", fields=[("priority", "u=5")])
        assert settled(edge, client.socket) <= MOST
        urgent, behind = client.ask("/small", fields=[("priority", "u=0")]), 0
        while (got := client.read()).stream != urgent:
            behind += len(got.payload)
        assert got.kind == HEADERS and behind <= MOST


@pytest.mark.parametrize("by_tls", [False, True], ids=["plain", "TLS"])
def test_a_reset_ends_what_is_under_way(edge, by_tls):
    with http2(edge, by_tls) as client:
        large = client.ask("/large")
        settled(edge, client.socket)
        client.send(reset(large))
        small, behind = client.ask("/small"), 0
        while (got := client.read()).stream != small:
            behind += len(got.payload)
        assert behind <= MOST
