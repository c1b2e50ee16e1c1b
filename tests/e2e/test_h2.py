"""Requests by HTTP/2: what the cache, the origins and the deadlines do does not depend on the protocol, and streams do not hold each other up."""
import select
import shutil
import signal
import subprocess
import threading
import time

import pytest

from harness.h2 import *
from harness.origin import CloseConnection
from harness.poll import at_pace, until

PRIVATE = {"Cache-Control": "no-store"}


@pytest.fixture(scope="module")
def server(back, make_module_outrigger):
    outrigger = serve_http2(make_module_outrigger, origin=back.url, site={"cache": {"early_hints": True}})
    proxies = outrigger.await_children("proxy", 1)
    yield outrigger
    assert outrigger.children("proxy") == proxies, outrigger.errors()


@pytest.fixture
def make_server(make_outrigger, origin):
    return lambda site=None, **config: serve_http2(make_outrigger, config, origin=origin.url, site=site)


@pytest.fixture
def client(server):
    with H2(server.port, window=1 << 24) as client:
        yield client


def test_a_miss_then_a_hit_for_both_protocols(server, back, client, path):
    back.on(path, b"hello")
    first, second = client.get(path), client.get(path)
    assert (first.status, first.body, second.status, second.body) == (200, b"hello", 200, b"hello")
    assert "fwd=uri-miss" in first.get("cache-status") and "hit" in second.get("cache-status")
    assert server.get(path, host="site.test").get("cache-status").startswith("outrigger; hit")
    assert back.count(path) == 1
    assert second.get("content-length") == "5" and second.get("connection") is None
    assert all(name == name.lower() for name, _ in second.fields)


def test_what_the_origin_is_told(back, client, path):
    back.on(path, lambda request: request.answer("x", fields=PRIVATE))
    client.get(path, authority="Site.Test:8080", fields=[("cookie", "a=1"), ("x-between", "y"), ("cookie", "b=2"), ("cookie", "c=3"), ("te", "trailers")])
    request = [request for request in back.requests if request.target == path][0]
    assert request.version == "HTTP/1.1" and request.get("host") == "site.test:8080"
    assert [value for name, value in request.fields if name.lower() == "cookie"] == ["a=1; b=2; c=3"]
    assert request.get("te") is None and request.get("x-forwarded-proto") == "http"
    assert request.get("via").startswith("2.0 outrigger-")


def test_the_access_log_says_http2(server, client, back, path):
    back.on(path, b"hello")
    client.get(path)
    lines = until(lambda: [line for line in server.access_lines() if f" {path} " in line], what="its line")
    assert f'"GET {path} HTTP/2.0" 200 5' in lines[0]


def test_head_has_the_length_and_no_body(back, client, path):
    back.on(path, b"hello")
    for _ in range(2):
        response = client.get(path, method="HEAD")
        assert (response.status, response.get("content-length"), response.body, response.complete) == (200, "5", b"", True)
        assert not [got for got in response.frames if got.kind == DATA]


def test_a_range_and_many(back, client, path):
    back.on(path, bytes(range(256)) * 40)
    client.get(path)
    one = client.get(path, fields=[("range", "bytes=100-109")])
    assert (one.status, one.body, one.get("content-range")) == (206, bytes(range(100, 110)), "bytes 100-109/10240")
    many = client.get(path, fields=[("range", "bytes=0-9,200-209")])
    assert many.status == 206 and bytes(range(10)) in many.body and bytes(range(200, 210)) in many.body
    assert client.get(path, fields=[("range", "bytes=99999-")]).status == 416


def test_a_304(back, client, path):
    back.on(path, lambda request: request.answer("hello", fields={"Cache-Control": "max-age=60", "ETag": '"v1"'}))
    client.get(path)
    response = client.get(path, fields=[("if-none-match", '"v1"')])
    assert (response.status, response.body, response.complete, response.get("etag")) == (304, b"", True, '"v1"')


def test_early_hints(back, client, path):
    def answer(request):
        request.send(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
        request.answer("page", fields={"Cache-Control": "max-age=60"})

    back.on(path, answer)
    for _ in range(2):  # from the origin, then from the cache
        response = client.get(path)
        assert response.body == b"page" and [(hint[":status"], hint["link"]) for hint in response.interim] == [("103", "</style.css>; rel=preload")]


@pytest.mark.parametrize("size", [0, 1, 16384, 65535, 65536, 1_000_000])
def test_bodies_to_the_byte(back, client, path, size):
    body = bytes(i * 7 % 251 for i in range(min(size, 4096))) * (size // 4096 + 1)
    back.on(path, body[:size])
    for _ in range(2):
        response = client.get(path)
        assert response.body == body[:size] and response.complete


def test_a_chunked_response_streams_as_it_comes(back, client, path):
    more = threading.Event()

    def answer(request):
        request.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nCache-Control: max-age=60\r\n\r\n5\r\nfirst\r\n")
        more.wait(20)
        request.send(b"6\r\nsecond\r\n0\r\n\r\n")

    back.on(path, answer)
    stream = client.ask(path)
    assert client.read_kind(HEADERS).fields[0] == (":status", "200")
    got = client.read_kind(DATA)
    assert got.payload == b"first" and not got.flags & END_STREAM
    more.set()
    rest = client.response(stream)
    assert rest.body == b"second" and rest.complete and rest.get("transfer-encoding") is None


def test_a_truncated_response_is_reset(back, client, path):
    def answer(request):
        request.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nCache-Control: max-age=60\r\n\r\nhalf")
        raise CloseConnection

    back.on(path, answer).on("/good", b"good")
    response = client.get(path)
    assert response.body == b"half" and not response.complete and response.reset == INTERNAL_ERROR
    assert client.get("/good").body == b"good"


@pytest.mark.threads
def test_many_streams_share_one_fetch(back, server, path):
    go = threading.Event()
    back.on(path, lambda request: (go.wait(20), request.answer("shared", fields={"Cache-Control": "max-age=60"})))
    with H2(server.port) as client:
        streams = [client.ask(path) for _ in range(100)]
        client.ping()
        go.set()
        assert all(client.response(stream).body == b"shared" for stream in streams)
    assert back.count(path) == 1


def test_streams_do_not_wait_for_each_other(back, client, path):
    never = threading.Event()
    back.on(path, lambda request: (never.wait(20), request.answer("slow"))).on("/quick", b"quick")
    slow = client.ask(path)
    assert client.get("/quick").body == b"quick"
    never.set()
    assert client.response(slow).body == b"slow"


# --- uploads ---


def echo(request):
    request.answer(request.body, fields=PRIVATE)


@pytest.mark.parametrize("announced", [True, False], ids=["length", "no length"])
@pytest.mark.parametrize("size", [0, 1, 300_000])
def test_an_upload_to_the_byte(back, client, path, size, announced):
    back.on(path, echo)
    body = bytes(i % 253 for i in range(size))
    fields = [("content-length", str(size))] if announced else []
    stream = client.ask(path, ends=False, method="POST", fields=fields)
    client.ping().upload(stream, body)
    response = client.response(stream)
    assert response.status == 200 and response.body == body
    request = [request for request in back.requests if request.target == path][-1]
    assert (request.get("content-length") == str(size)) == announced


def test_an_origin_that_does_not_read_holds_the_client_up(make_server, origin, path):
    """A client is given a window and no more, until the origin has taken some of it; other streams go on."""
    origin.read_bodies = False
    held = threading.Event()
    origin.on(path, lambda request: (held.wait(20), request.answer("done", fields=PRIVATE)))
    server = make_server()
    with H2(server.port) as client:
        stream = client.ask(path, ends=False, method="POST")
        client.ping()
        sent = 0
        for _ in range(4):
            client.data(stream, b"x" * 16383)
            sent += 16383
        client.ping()
        assert sent < 65536
        held.set()


@pytest.mark.parametrize("windows", [{"window": "1KiB"}, {"window": "1GiB", "connection_window": "64KiB"}], ids=["stream", "connection"])
def test_a_client_that_sends_more_than_its_windows_have(make_server, origin, path, windows):
    origin.read_bodies = False
    held = threading.Event()
    origin.on(path, lambda request: (held.wait(20), request.answer("done", fields=PRIVATE)))
    server = make_server(http2=windows)
    with H2(server.port) as client:
        client.ping()  # its settings are acknowledged
        stream = client.ask(path, ends=False, method="POST")
        got = None
        while got is None or got.kind not in (GOAWAY, RST_STREAM):  # until then the origin's kernel may take some, and the window is opened
            client.try_to_send(*[frame(DATA, 0, stream, b"x" * 16384)] * 16)
            while select.select([client.socket], [], [], 0)[0] and (got is None or got.kind not in (GOAWAY, RST_STREAM)):
                got = client.read()
        assert (got.kind, got.code) == (RST_STREAM if "connection_window" not in windows else GOAWAY, FLOW_CONTROL_ERROR)
    held.set()


def test_100_continue_comes_when_the_body_is_wanted(back, client, path):
    back.on(path, echo)
    stream = client.ask(path, ends=False, method="POST", fields=[("expect", "100-continue")])
    assert dict(client.read_kind(HEADERS).fields)[":status"] == "100"
    client.data(stream, b"body", ends=True)
    assert client.response(stream).body == b"body"
    assert [request for request in back.requests if request.target == path][0].get("expect") is None


def test_trailers_are_dropped(back, client, path):
    back.on(path, echo)
    stream = client.ask(path, ends=False, method="POST")
    client.data(stream, b"body").send(frame(HEADERS, END_HEADERS | END_STREAM, stream, literal("x-trailer", "no")))
    assert client.response(stream).body == b"body"
    assert "x-trailer" not in [request for request in back.requests if request.target == path][0].names()


def test_a_body_of_a_get_is_dropped(back, client, path):
    back.on(path, b"hello")
    stream = client.ask(path, ends=False)
    client.data(stream, b"ignored", ends=True)
    response = client.response(stream)
    assert response.body == b"hello" and response.complete
    assert client.get(path).body == b"hello"


def test_an_answer_before_the_end_of_the_upload(client):
    """RFC 9113 §8.1: the rest of the request makes no difference, and the client is told so."""
    stream = client.ask("/", ends=False, method="POST", authority="site.test", fields=[("expect", "the unexpected")])
    assert client.response(stream).status == 417
    got = client.read_kind(RST_STREAM, stream)
    assert got.code == NO_ERROR
    client.data(stream, b"too late", ends=True)
    client.ping()


# --- limits, as over HTTP/1 ---


def test_limits_are_answered(make_server, origin):
    origin.on("/page", b"hello")
    server = make_server(limits={"header_bytes": "2KiB", "header_count": 10, "url_bytes": "100B", "body_bytes": "1KiB"})
    with H2(server.port) as client:
        assert client.get("/" + "x" * 100).status == 414
        assert client.get(fields=[("x-long", "y" * 3000)]).status == 431
        assert client.get(fields=[(f"x-{i}", "y") for i in range(11)]).status == 431
        assert client.get(fields=[("cookie", f"c{i}=1") for i in range(11)]).status == 431  # crumbs are fields
        assert client.get(fields=[("x", "")] * 9 + [("y", "z" * 1600)]).status == 431  # each charged 32 bytes
        assert client.get("/up", method="POST", fields=[("content-length", "1025")], ends=False).status == 413
        stream = client.ask("/up", method="POST", ends=False)
        client.data(stream, b"x" * 1025)
        assert client.response(stream).status == 413
        assert client.get().body == b"hello"
    assert origin.count("/up") == 0 or all(len(request.body or b"") < 1025 for request in origin.requests if request.target == "/up")


def test_methods(back, client):
    assert client.response(client.ask_fields([(":method", "CONNECT"), (":authority", "site.test:443")])).status == 405
    assert client.get("*", method="OPTIONS").status is not None
    back.on("/odd", lambda request: request.answer(request.method, fields=PRIVATE))
    assert client.get("/odd", method="BREW").body == b"BREW"


def test_a_host_field_instead_of_an_authority(back, client, path):
    back.on(path, b"hello")
    fields = [(":method", "GET"), (":scheme", "http"), (":path", path), ("host", "site.test")]
    assert client.response(client.ask_fields(fields)).body == b"hello"
    assert client.get(path, fields=[("host", "site.test")]).body == b"hello"


# --- deadlines and the end ---


def test_a_connection_without_settings_or_with_half_a_field_section_is_ended(make_server):
    server = make_server(timeouts={"header": "200ms"})
    with H2(server.port, say=None, answers=False) as client:
        client.send(PREFACE)
        assert client.goaway() is not None
    with H2(server.port, answers=False) as client:
        client.send(frame(HEADERS, END_STREAM, 1, block(request())))
        assert client.goaway() is not None
    with H2(server.port, answers=False) as client:
        client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, block(request()))[:-1])
        assert client.goaway() is not None
    assert server.metric("outrigger_http2_goaways_total", cause="timeout") == 3


def test_requests_may_be_cut_for_longer_than_a_head_may_take(make_server, origin):
    """Each read ends within a request, and none of them is slow."""
    origin.on("/page", b"hello")
    patience = 0.3 if SLOW == 1 else 2.0
    server = make_server(timeouts={"header": f"{int(patience * 1000)}ms"})
    with H2(server.port, window=1 << 20, answers=False) as client:  # which would be in the middle of a frame
        until_time, stream = time.monotonic() + 2.5 * patience, 1
        head = frame(HEADERS, END_STREAM | END_HEADERS, stream, block(request()))
        client.send(head[:20])
        while time.monotonic() < until_time:
            following = frame(HEADERS, END_STREAM | END_HEADERS, stream + 2, block(request()))
            client.send(head[20:] + following[:20])
            assert client.response(stream, update=False).body == b"hello"
            head, stream = following, stream + 2


def test_an_idle_connection_is_ended_and_pings_do_not_keep_it(make_server, origin):
    origin.on("/page", b"hello")
    server = make_server(timeouts={"keep_alive": "300ms"})
    with H2(server.port) as client:
        assert client.get().body == b"hello"
        goaway = None
        while goaway is None:
            client.try_to_send(frame(PING, payload=b"12345678"))
            got = client.read()
            goaway = got if got.kind == GOAWAY else None
            time.sleep(0.01)  # or they are a flood
        assert (goaway.code, goaway.last_stream) == (NO_ERROR, 1)
        assert client.end() is not None
    assert server.metric("outrigger_http2_goaways_total", cause="idle") == 1


def test_a_body_that_does_not_come_is_given_up(make_server, origin):
    server = make_server(timeouts={"body": "200ms"})
    origin.on("/page", b"hello").on("/up", echo)
    with H2(server.port) as client:
        stream = client.ask("/up", method="POST", ends=False)
        assert client.response(stream).status == 408
        assert client.get().body == b"hello"


def test_a_stream_that_is_not_read_is_given_up_alone(make_server, origin):
    server = make_server(timeouts={"write_stall": "300ms"})
    origin.on("/long", b"x" * 200_000).on("/page", b"hello")
    with H2(server.port, say=[(INITIAL_WINDOW_SIZE, 10)], window=1 << 20) as client:
        stream = client.ask("/long")
        got = client.read_kind(RST_STREAM, stream)
        assert got.code == CANCEL
        assert client.get().body == b"hello"


LONG = {"Cache-Control": "max-age=60"}


def trickle(client, stream, until_time=None, pace=lambda: None):
    """Opens that window, 0: the connection's, by little again and again. Returns when a stream was reset, or it is that time."""
    while until_time is None or time.monotonic() < until_time:
        pace()
        client.send(window_update(stream, 2000))
        got = client.read()
        if got.kind == RST_STREAM:
            return got
        threading.Event().wait(0.005)
    return None


@pytest.mark.parametrize("windows", [{"stream": 10, "connection": 1 << 20}, {"stream": 1 << 24, "connection": None}], ids=["stream", "connection"])
def test_a_window_that_is_opened_by_little_for_ever_ends_the_stream(make_server, origin, windows):
    server = make_server(timeouts={"write_stall": "300ms", "write_min_rate": "100MiB"})
    origin.on("/long", lambda request: request.answer(b"x" * 8_000_000, fields=LONG))
    with H2(server.port, say=[(INITIAL_WINDOW_SIZE, windows["stream"])], window=windows["connection"], answers=False) as client:
        stream = client.ask("/long")
        assert trickle(client, stream if windows["connection"] else 0).code == CANCEL
    until(lambda: "read too slowly" in server.errors(), what="the reason in the log")


def test_a_stream_is_not_given_up_while_its_client_takes_others(make_server, origin):
    """The connection's window is what is shut, and the client's word which of them has it."""
    server = make_server(timeouts={"write_stall": "300ms", "write_min_rate": "1KiB"})
    origin.on("/long", lambda request: request.answer(b"x" * 8_000_000, fields=LONG))

    def take(pace):
        with H2(server.port, say=[(INITIAL_WINDOW_SIZE, 1 << 24)], answers=False) as client:
            client.ask("/long", fields=[("priority", "u=0")])
            client.ask("/long", fields=[("priority", "u=7")])
            assert trickle(client, 0, time.monotonic() + 1.2, pace) is None

    at_pace(take, 0.1)


def test_a_client_that_reads_nothing_at_all_is_closed(make_server, origin):
    server = make_server(timeouts={"write_stall": "300ms"})
    origin.on("/huge", b"x" * 20_000_000)
    with H2(server.port, say=[(INITIAL_WINDOW_SIZE, 1 << 30)], window=1 << 30, receive_buffer=4096) as client:
        client.ask("/huge")
        until(lambda: server.metric("outrigger_http2_goaways_total", cause="stalled") == 1, what="it to be given up")


@pytest.mark.threads
def test_a_client_that_leaves_ends_its_requests(make_server, origin):
    gone = threading.Event()
    held = threading.Event()
    origin.on("/held", lambda request: (held.set(), request.connection.socket.settimeout(20), request.connection.socket.recv(1) == b"" and gone.set()))
    server = make_server()
    with H2(server.port) as client:
        client.ask("/held", method="POST")
        assert held.wait(20)
    assert gone.wait(20)


@pytest.mark.threads
def test_a_drain_lets_requests_end_and_takes_those_on_their_way(make_server, origin):
    go, came = threading.Event(), threading.Event()
    origin.on("/held", lambda request: (came.set(), go.wait(20), request.answer("held", fields=PRIVATE))).on("/page", b"hello")
    server = make_server()
    with H2(server.port) as client, H2(server.port) as idle:
        assert idle.get().body == b"hello"
        stream = client.ask("/held")
        assert came.wait(20)
        server.send_signal(signal.SIGQUIT)
        notice = client.read_kind(GOAWAY)
        assert (notice.code, notice.last_stream) == (NO_ERROR, 0x7FFFFFFF)
        assert client.get().body == b"hello"  # it was on its way
        final = client.read_kind(GOAWAY)
        assert (final.code, final.last_stream) == (NO_ERROR, 3)
        go.set()
        assert client.response(stream).body == b"held"
        client.end()
        assert [got.code for got in idle.end() if got.kind == GOAWAY] == [NO_ERROR, NO_ERROR]
    assert server.process.wait(20 * SLOW) == 0


def test_a_fast_stop_closes_everything(make_server, origin):
    came = threading.Event()
    origin.on("/held", lambda request: (came.set(), request.connection.socket.recv(1)))
    server = make_server()
    with H2(server.port) as client:
        client.ask("/held")
        assert came.wait(20)
        server.stop()
        client.end()


# --- priorities (RFC 9218) ---


def order_of(client, streams):
    """In which order these end."""
    ended = []
    while len(ended) < len(streams):
        got = client.read()
        if got.kind == DATA and got.flags & END_STREAM:
            ended.append(got.stream)
    return [streams.index(stream) for stream in ended]


@pytest.fixture
def long(back, client):
    """A path that is stored; the connection's window is shut, so that what is asked waits."""
    back.on("/prioritised", b"x" * 150_000)
    assert len(client.get("/prioritised").body) == 150_000
    return "/prioritised"


def shut(server):
    return H2(server.port, say=[(INITIAL_WINDOW_SIZE, 1 << 20)])


def test_urgent_streams_come_first(server, long):
    with shut(server) as client:
        client.ask(long, fields=[("priority", "u=0")])  # takes what the window has
        client.ping()
        streams = [client.ask(long, fields=[("priority", f"u={u}")]) for u in (6, 2, 4)]
        client.ping()
        client.send(window_update(0, 1 << 20))
        assert order_of(client, [1, *streams]) == [0, 2, 3, 1]


def test_a_priority_update_moves_a_stream(server, long):
    with shut(server) as client:
        client.ask(long, fields=[("priority", "u=0")])
        client.ping()
        streams = [client.ask(long, fields=[("priority", "u=3")]) for _ in range(3)]
        client.send(frame(PRIORITY_UPDATE, 0, 0, struct.pack(">I", streams[2]) + b"u=1"))
        client.ping()
        client.send(window_update(0, 1 << 20))
        assert order_of(client, [1, *streams]) == [0, 3, 1, 2]


def test_incremental_streams_take_turns_and_others_do_not(server, long):
    for priority, most in ("u=3, i", 65536), ("u=3", 150_000):
        with shut(server) as client:
            client.ask(long, fields=[("priority", "u=0")])
            client.ping()
            streams = [client.ask(long, fields=[("priority", priority)]) for _ in range(2)]
            client.ping()
            client.send(window_update(0, 1 << 20))
            run, longest, last = 0, 0, None
            ended = 0
            while ended < 3:
                got = client.read_kind(DATA)
                ended += bool(got.flags & END_STREAM)
                if got.stream in streams:
                    run = run + len(got.payload) if got.stream == last else len(got.payload)
                    longest, last = max(longest, run), got.stream
            assert (longest == 150_000) if most == 150_000 else (longest <= most)


# --- tunnels (RFC 8441) ---


def test_a_websocket_by_extended_connect(server, back, client, path):
    def upgrade(request):
        assert request.method == "GET" and request.get("upgrade") == "websocket" and len(request.get("sec-websocket-key")) == 24
        request.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\nX-Token: t\r\n\r\nhello")
        request.echo()

    back.on(path, upgrade)
    fields = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", path), (":authority", "site.test"), ("sec-websocket-version", "13")]
    stream = client.ask_fields(fields, ends=False)
    head = client.read_kind(HEADERS, stream)
    assert dict(head.fields)[":status"] == "200" and dict(head.fields)["x-token"] == "t"
    assert not {"connection", "upgrade", "sec-websocket-accept", "transfer-encoding", "content-length"} & {name for name, _ in head.fields}
    assert read_bytes(client, stream, 5) == b"hello"
    for n in range(20):
        client.data(stream, b"frame %02d" % n)
        assert read_bytes(client, stream, 8) == b"frame %02d" % n
    sent = bytes(range(256)) * 2000
    client.ping().upload(stream, sent, ends=False)  # which the origin sends back, as far as it is let
    back_again = b"".join(got.payload for got in client.streams.pop(stream, ()) if got.kind == DATA)
    assert back_again + read_bytes(client, stream, len(sent) - len(back_again)) == sent
    client.data(stream, ends=True)
    client.read_until(lambda got: got.kind == DATA and got.stream == stream and got.flags & END_STREAM)
    assert client.get("/quick-after").status is not None


def read_bytes(client, stream, count):
    got = b""
    while len(got) < count:
        received = client.read()
        if received.kind == DATA and received.stream == stream:
            got += received.payload
            client.send(window_update(0, len(received.payload)), window_update(stream, len(received.payload)))
    return got


def test_a_tunnel_ends_with_its_stream(server, back, client, path):
    gone = threading.Event()

    def upgrade(request):
        request.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        request.connection.socket.settimeout(20)
        try:
            while request.connection.socket.recv(100):
                pass
        except ConnectionResetError:
            pass
        gone.set()
        raise CloseConnection

    back.on(path, upgrade).on("/quick", b"quick")
    fields = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", path), (":authority", "site.test")]
    stream = client.ask_fields(fields, ends=False)
    client.read_kind(HEADERS, stream)
    client.send(reset(stream))
    assert gone.wait(20)
    assert client.get("/quick").body == b"quick"


def test_an_upgrade_that_the_origin_declines_is_a_response(back, client, path):
    back.on(path, lambda request: request.answer("no", status="403 Forbidden", fields=PRIVATE))
    fields = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", path), (":authority", "site.test")]
    response = client.response(client.ask_fields(fields, ends=False))
    assert (response.status, response.body, response.complete) == (403, b"no", True)


def extended_connect(path, protocol="websocket"):
    return [(":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"), (":path", path), (":authority", "site.test")]


def test_what_is_stored_does_not_answer_a_websocket(back, client, path):
    """Nor does the one wait for the other, whichever comes first."""
    back.on(path, lambda request: request.answer("no", status="403 Forbidden", fields=PRIVATE) if request.get("upgrade") else request.answer("page", fields={"Cache-Control": "max-age=60"}))
    assert client.get(path).body == b"page"
    assert client.response(client.ask_fields(extended_connect(path), ends=False)).status == 403
    assert client.get(path).body == b"page" and back.count(path) == 2


def test_an_origin_that_answers_a_websocket_with_a_page_opens_no_tunnel(back, client, path):
    """RFC 8441 §5: a 2xx says that there is one."""
    back.on(path, lambda request: request.answer("page", fields={"Cache-Control": "max-age=60"}))
    response = client.response(client.ask_fields(extended_connect(path), ends=False))
    assert response.status == 502 and response.complete and b"page" not in response.body
    assert client.get(path).body == b"page"


@pytest.mark.parametrize("protocol", ["h2c", "H2C"])
def test_http2_in_cleartext_is_not_to_be_had_from_the_origin(back, client, path, protocol):
    """By which requests would pass us unseen."""
    back.on(path, b"never")
    assert client.response(client.ask_fields(extended_connect(path, protocol), ends=False)).status == 501
    assert back.count(path) == 0


# --- clients as people have them ---


@pytest.fixture
def wanted():
    def need(program):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
        return program

    return need


def test_curl(server, back, wanted, path, tmp_path):
    back.on(path, b"x" * 3_000_000)
    done = subprocess.run([wanted("curl"), "-s", "--http2-prior-knowledge", "-o", str(tmp_path / "got"), "-w", "%{http_version} %{http_code}",
                           f"http://127.0.0.1:{server.port}{path}"], capture_output=True, text=True, timeout=30 * SLOW)
    assert done.stdout == "2 200" and (tmp_path / "got").read_bytes() == b"x" * 3_000_000


def test_nghttp_with_many_requests(server, back, wanted, path):
    back.on(path, b"y" * 50_000)
    done = subprocess.run([wanted("nghttp"), "-s", "-n", "-m", "100", f"http://127.0.0.1:{server.port}{path}"], capture_output=True, text=True, timeout=30 * SLOW)
    assert done.stdout.count(" 200 ") == 100, done.stdout


@pytest.mark.threads
def test_h2load(server, back, wanted, path):
    back.on(path, b"hello")
    done = subprocess.run([wanted("h2load"), "-n", "2000", "-c", "4", "-m", "50", f"http://127.0.0.1:{server.port}{path}"], capture_output=True, text=True, timeout=60 * SLOW)
    assert "2000 succeeded, 0 failed, 0 errored" in done.stdout, done.stdout


def test_python_h2(server, back, path):
    import h2.config
    import h2.connection
    import h2.events

    back.on(path, b"by the book" * 1000)
    peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    with socket.create_connection(("127.0.0.1", server.port)) as wire:
        wire.settimeout(20 * SLOW)
        peer.initiate_connection()
        for stream in range(1, 40, 2):
            peer.send_headers(stream, request(path), end_stream=True)
        wire.sendall(peer.data_to_send())
        bodies, ended = {}, set()
        while len(ended) < 20:
            for event in peer.receive_data(wire.recv(65536)):
                if isinstance(event, h2.events.DataReceived):
                    bodies[event.stream_id] = bodies.get(event.stream_id, b"") + event.data
                    peer.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    ended.add(event.stream_id)
            wire.sendall(peer.data_to_send())
    assert set(bodies.values()) == {b"by the book" * 1000}
