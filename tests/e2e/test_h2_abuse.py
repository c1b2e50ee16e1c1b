"""HARDENING, HTTP/2 abuse: the attacker's connection is ended within its budget, with the reason in the log and a counter; everybody else is served."""
import threading

import pytest

from harness.h2 import *
from harness.poll import until

BUDGET = {"resets": 50, "control_frames": 100}
MANY = 400  # of anything that a budget bounds, at once


@pytest.fixture(scope="module")
def server(back, make_module_outrigger):
    back.on("/page", b"hello").on("/long", b"x" * 100_000)
    outrigger = serve_http2(make_module_outrigger, {"http2": BUDGET}, origin=back.url)
    proxies = outrigger.await_children("proxy", 1)
    yield outrigger
    assert outrigger.children("proxy") == proxies, outrigger.errors()


@pytest.fixture
def bystander(server):
    """Somebody else, before and after."""
    with H2(server.port) as client:
        assert client.get().body == b"hello"
        yield client
        assert client.get().body == b"hello"


def is_ended(server, client, cause, text, code=ENHANCE_YOUR_CALM):
    goaway = client.goaway()
    assert goaway is None or goaway.code == code  # a reset may overtake it while the flood goes on
    until(lambda: server.metric("outrigger_http2_goaways_total", cause=cause) > server.before[cause], what=f"the counter of {cause}")
    until(lambda: text in server.errors(), what="its line in the log")


@pytest.fixture(autouse=True)
def counters(server):
    causes = "resets", "control_frames", "small_frames", "continuations", "fields", "protocol"
    server.before = {cause: server.metric("outrigger_http2_goaways_total", cause=cause) for cause in causes}


@pytest.mark.threads
def test_rapid_reset(server, back, bystander):
    """CVE-2023-44487: requests given up as fast as they are made."""
    held = threading.Event()
    back.on("/held", lambda request: (held.wait(20), request.answer("late", fields={"Cache-Control": "no-store"})))
    with H2(server.port) as client:
        flood = b"".join(frame(HEADERS, END_HEADERS | END_STREAM, stream, block(request("/held"))) + reset(stream) for stream in range(1, 2 * MANY, 2))
        client.try_to_send(flood)
        is_ended(server, client, "resets", "too many streams reset")
    held.set()
    assert back.count("/held") <= BUDGET["resets"] + 1


def test_rapid_reset_in_small_pieces(server, back, bystander):
    with H2(server.port) as client:
        for stream in range(1, 2 * MANY, 2):
            if not client.try_to_send(frame(HEADERS, END_HEADERS | END_STREAM, stream, block(request(f"/piece-{stream}", "POST"))), reset(stream)):
                break
        is_ended(server, client, "resets", "too many streams reset")


PROVOKED = {
    "a window of nothing": lambda stream: window_update(stream, 0),
    "a window too large": lambda stream: window_update(stream, 0x7FFFFFFF),
    "data on what has ended": lambda stream: frame(DATA, 0, stream, b"x"),
    "a body that is too short": lambda stream: frame(DATA, END_STREAM, stream, b"x"),
    "priority of another size": lambda stream: frame(PRIORITY, 0, stream, b"x"),
}


@pytest.mark.parametrize("how", PROVOKED)
def test_made_you_reset(server, back, bystander, path, how):
    """CVE-2025-8671: mistakes that make the server reset, so that it counts the stream no more while the origin still works on it. It does not here."""
    ended = []
    back.on(path, lambda request: ended.append(request.connection.socket.recv(1)))
    with H2(server.port) as client:
        for stream in range(1, 2 * MANY, 2):
            ends = 0 if how == "a body that is too short" else END_STREAM
            fields = [("content-length", "5")] if not ends else []
            head = frame(HEADERS, END_HEADERS | ends, stream, block(request(path, "POST", fields=fields)))
            if not client.try_to_send(head, PROVOKED[how](stream)):
                break
        goaway = client.goaway()
        assert goaway is None or goaway.code in (ENHANCE_YOUR_CALM, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR)
    if how != "a body that is too short":  # of which the origin's handler never hears
        until(lambda: len(ended) == back.count(path), what="the origin's work to be cancelled")


def test_malformed_requests_cost_as_well(server, bystander):
    with H2(server.port) as client:
        client.try_to_send(b"".join(frame(HEADERS, END_HEADERS | END_STREAM, stream, block(request(fields=[("connection", "x")]))) for stream in range(1, 2 * MANY, 2)))
        is_ended(server, client, "resets", "too many streams reset")


def test_continuation_flood(server, bystander):
    with H2(server.port) as client:
        client.send(frame(HEADERS, END_STREAM, 1, block(request())))
        for _ in range(MANY):
            if not client.try_to_send(frame(CONTINUATION, 0, 1, literal("x", "y"))):
                break
        is_ended(server, client, "continuations", "field section in too many frames")


def test_empty_continuations(server, bystander):
    with H2(server.port) as client:
        client.try_to_send(frame(HEADERS, END_STREAM, 1, block(request())), frame(CONTINUATION, 0, 1) * MANY)
        is_ended(server, client, "continuations", "field section in too many frames")


FLOODS = {
    "PING": frame(PING, payload=b"12345678"),
    "SETTINGS": settings((MAX_CONCURRENT_STREAMS, 1)),
    "empty SETTINGS": settings(),
    "PRIORITY": frame(PRIORITY, 0, 1, struct.pack(">IB", 0, 1)),
    "PRIORITY_UPDATE": frame(PRIORITY_UPDATE, 0, 0, struct.pack(">I", 1) + b"u=1"),
    "acknowledged PING": frame(PING, ACK, payload=b"12345678"),
    "unknown": frame(0x77, 0, 0, b""),
}


@pytest.mark.parametrize("what", FLOODS)
def test_control_frame_floods(server, bystander, what):
    with H2(server.port, answers=False) as client:
        client.try_to_send(FLOODS[what] * MANY)
        is_ended(server, client, "control_frames", "too many frames that carry nothing")


def test_a_flood_whose_answers_are_not_read(server, bystander):
    with H2(server.port, receive_buffer=4096) as client:
        client.socket.settimeout(1 * SLOW)
        try:
            for _ in range(100):
                if not client.try_to_send(FLOODS["PING"] * 1000):
                    break
        except TimeoutError:
            pass
        until(lambda: server.metric("outrigger_http2_goaways_total", cause="control_frames") > server.before["control_frames"], what="the counter")


def test_empty_data(server, back, bystander):
    back.on("/sink", lambda request: request.answer("x"))
    with H2(server.port) as client:
        stream = client.ask("/sink", ends=False, method="POST")
        client.try_to_send(frame(DATA, 0, stream) * MANY)
        is_ended(server, client, "control_frames", "too many frames that carry nothing")


def test_data_on_a_stream_that_is_gone(server, bystander):
    """Which nghttp2 would ignore without end."""
    with H2(server.port) as client:
        assert client.get().body == b"hello"
        client.try_to_send(frame(DATA, 0, 1, b"x") * MANY)
        goaway = client.goaway()
        assert goaway is None or goaway.code == STREAM_CLOSED


def test_windows_opened_by_a_byte(server, bystander):
    with H2(server.port, say=[(INITIAL_WINDOW_SIZE, 0)]) as client:
        stream = client.ask("/long")
        for _ in range(MANY):
            if not client.try_to_send(window_update(stream, 1)):
                break
        is_ended(server, client, "small_frames", "a few bytes at a time")


def test_a_window_that_settings_open_by_a_byte(server, bystander):
    with H2(server.port, say=[(INITIAL_WINDOW_SIZE, 0)], answers=False) as client:
        client.ask("/long")
        for n in range(MANY):
            if not client.try_to_send(settings((INITIAL_WINDOW_SIZE, n))):
                break
        assert client.goaway() is None or True
    until(lambda: sum(server.metric("outrigger_http2_goaways_total", cause=cause) - server.before[cause] for cause in ("small_frames", "control_frames")) > 0, what="it to be ended")


def test_an_hpack_bomb(server, bystander):
    """One large field in the table, then a byte for each time that it is to be there again."""
    bomb = block(request()) + b"\x40" + number(1) + b"x" + number(3900) + b"y" * 3900 + b"\xbe" * 12000
    with H2(server.port) as client:
        client.try_to_send(frame(HEADERS, END_HEADERS | END_STREAM, 1, bomb))
        is_ended(server, client, "fields", "far beyond the limits")


def test_references_of_a_byte_to_small_fields(server, bystander):
    """Each costs 32 bytes more than it is long."""
    with H2(server.port) as client:
        client.try_to_send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block(request()) + b"\x90" * 16000))  # accept-encoding
        is_ended(server, client, "fields", "far beyond the limits")


def test_crumbs_of_cookies(server, back, bystander):
    with H2(server.port) as client:
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block(request("/crumbs")) + literal("cookie", "") * 200))
        assert client.response(1).status == 431
    assert back.count("/crumbs") == 0


def test_a_trailer_bomb(server, back, bystander):
    back.on("/up", lambda request: request.answer("x", fields={"Cache-Control": "no-store"}))
    with H2(server.port) as client:
        stream = client.ask("/up", ends=False, method="POST")
        client.try_to_send(frame(HEADERS, END_HEADERS | END_STREAM, stream, b"\x40" + number(1) + b"x" + number(3900) + b"y" * 3900 + b"\xbe" * 12000))
        is_ended(server, client, "fields", "far beyond the limits")


@pytest.mark.threads
def test_memory_stays_bounded_with_streams_whose_windows_are_shut(server, back):
    """A thousand streams that wait hold places in line, not bodies: 4.3 KB each, and their connections 10."""
    back.on("/wide", b"w" * 1_000_000)
    with H2(server.port, window=1 << 24) as client:
        assert len(client.get("/wide").body) == 1_000_000
    pid = server.children("proxy")[0]
    before = resident(pid)
    clients = [H2(server.port, say=[(INITIAL_WINDOW_SIZE, 0)]) for _ in range(10)]
    try:
        for client in clients:
            for _ in range(100):
                client.ask("/wide")
            client.ping()
        grown = resident(pid) - before
    finally:
        for client in clients:
            client.close()
    if SLOW == 1:
        assert grown < 5_500_000


def resident(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")
