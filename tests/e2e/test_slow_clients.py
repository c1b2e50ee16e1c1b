"""HARDENING, resources: clients that are slow on purpose, many at once. Each is closed at its deadline, however little it does to look alive, costs little memory
until then, and everybody else is served. SLOW_CLIENTS=10000 is what `make slow-clients` does; here there are fewer."""
import os
import resource
import select
import socket
import time

import pytest

from harness.certificates import client_context, serve_every_protocol
from harness.h2 import END_HEADERS, END_STREAM, HEADERS, INITIAL_WINDOW_SIZE, PREFACE, block, frame, request, settings, window_update
from harness.outrigger import SLOW
from harness.poll import until

SPARE_DESCRIPTORS = 300  # for the test itself
COUNT = int(os.environ.get("SLOW_CLIENTS", 200 if SLOW == 1 else 50))
DEADLINE = max(1.0, COUNT / 250) * (3 if SLOW > 1 else 1)  # seconds; all of them are there before the first one is closed
COST_MAX = 16 << 10  # bytes each, of the accelerator's own memory (the kernel's are not counted)
COST_OF_THE_FIRST = 6 << 20  # what all of them share: tables and allocators that grow
LARGE = 6_000_000


@pytest.fixture(scope="module")
def count():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield min(COUNT, hard - SPARE_DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def edge(tmp_path_factory, back, count):
    kept = {"Cache-Control": "max-age=36000"}
    back.on("/page", lambda request: request.answer("hello", fields=kept)).on("/large", lambda request: request.answer(bytes(LARGE), fields=kept)).on("/up", b"taken")
    time_s = f"{int(DEADLINE * 1000)}ms"
    edge = serve_every_protocol(tmp_path_factory, back, ["/page", "/large"], {
        "workers": 1, "limits": {"connections": count + 100}, "error_log": {"level": "error"},
        "timeouts": {"header": time_s, "body": time_s, "write_stall": time_s, "keep_alive": time_s}})
    yield edge
    edge.stop()


def plain(edge, said, receive_buffer=None):
    client = socket.socket()
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.connect(("127.0.0.1", edge.port))
    client.sendall(said)
    return client


def slow_handshake(edge):
    client = socket.create_connection(("127.0.0.1", edge.tls_port))
    client.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    return client


CONTEXT = client_context()


def slow_reader_by_tls(edge):
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", edge.tls_port))
    client = CONTEXT.wrap_socket(client, server_hostname="site.test")
    client.sendall(b"GET /large HTTP/1.1\r\nHost: site.test\r\n\r\n")
    return client


KINDS = {  # how one begins, and the byte that it sends again and again
    "handshakes": (slow_handshake, b"x"),
    "heads": (lambda edge: plain(edge, b"GET /page HTTP/1.1\r\nHost: site.test\r\nX-A: "), b"x"),
    "bodies": (lambda edge: plain(edge, b"POST /up HTTP/1.1\r\nHost: site.test\r\nContent-Length: 100000\r\n\r\n"), b"x"),
    "readers": (lambda edge: plain(edge, b"GET /large HTTP/1.1\r\nHost: site.test\r\n\r\n", 4096), None),
    "readers by TLS": (slow_reader_by_tls, None),
    "windows": (lambda edge: plain(edge, PREFACE + settings((INITIAL_WINDOW_SIZE, 0)) + frame(HEADERS, END_HEADERS | END_STREAM, 1, block(request("/large"))), 4096), None),
    "readers by HTTP/2": (lambda edge: plain(edge, PREFACE + settings((INITIAL_WINDOW_SIZE, 1 << 30)) + window_update(0, 1 << 30) + frame(HEADERS, END_HEADERS | END_STREAM, 1, block(request("/large"))), 4096), None),
    "field sections": (lambda edge: plain(edge, PREFACE + settings() + frame(HEADERS, 0, 1, block(request("/page")))), None),
}


def resident(edge):
    for line in open(f"/proc/{edge.children('proxy')[0]}/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def await_ends(began, byte):
    """How long each lasted, and how long of that it was watched. Nothing is read: whether it ended is seen by poll(2)."""
    poll, open_ones, lasted, watched = select.poll(), {client.fileno(): client for client in began}, [], []
    first_look = time.monotonic()
    for number in open_ones:
        poll.register(number, select.POLLRDHUP)
    limit = first_look + 5 * DEADLINE + 20 * SLOW
    while open_ones:
        assert time.monotonic() < limit, f"{len(open_ones)} of {len(began)} are still open"
        for number, _ in poll.poll(DEADLINE * 100):
            lasted.append(time.monotonic() - began[open_ones.pop(number)])
            watched.append(time.monotonic() - first_look)
            poll.unregister(number)
        for client in open_ones.values() if byte else ():
            try:
                client.send(byte)
            except OSError:
                pass
    return sorted(lasted), sorted(watched)


@pytest.mark.parametrize("kind", KINDS)
def test_many_slow_ones_cost_little_and_end_in_time(edge, back, count, kind):
    begin, byte = KINDS[kind]
    served = edge.metric("outrigger_client_connections_accepted_total")
    before = resident(edge)
    began = {}
    try:
        for _ in range(count):
            moment = time.monotonic()
            began[begin(edge)] = moment
        until(lambda: edge.metric("outrigger_client_connections_accepted_total") >= served + count, what="all of them to be accepted")
        grown = resident(edge) - before
        for _ in range(20):
            assert edge.get("/page", host="site.test").body == b"hello"
        lasted, watched = await_ends(began, byte)
    finally:
        for client in began:
            client.close()
    if SLOW == 1:
        assert grown < COST_OF_THE_FIRST + count * COST_MAX, f"{grown // count} bytes each"
    assert len(lasted) == count and lasted[0] > 0.8 * DEADLINE and watched[count * 99 // 100] < 4 * DEADLINE + 5 * SLOW
    assert edge.get("/page", host="site.test").body == b"hello"
    print(f"{count} slow {kind}: {grown // count} bytes each, ended after {lasted[0]:.1f} to {lasted[-1]:.1f} s of {DEADLINE:.1f}")
