"""The origin's side: connections that are kept, lost and retried; deadlines; every way a response may be framed; several origins."""
import socket
import threading

import pytest

from harness.deaf import Deaf
from harness.origin import CloseConnection
from harness.outrigger import SLOW
from harness.poll import until
from harness.ports import free_port

FRESH = {"Cache-Control": "max-age=60"}
PRIVATE = {"Cache-Control": "no-store"}


def passed(body=b"passed"):
    """Answers that are not stored: each request reaches the origin."""
    return lambda request: request.answer(body, fields=PRIVATE)


@pytest.fixture
def one_loop(make_outrigger, origin):
    """With one worker, for connections are kept by each."""

    def make(**site):
        return make_outrigger(origin=origin.url, config={"workers": 1}, site=site)

    return make


# ---- kept connections ----


def test_a_connection_is_kept_and_used_again(one_loop, origin):
    outrigger = one_loop()
    origin.on("*", passed())
    for n in range(5):
        assert outrigger.get(f"/{n}").body == b"passed"
    assert origin.connections == 1
    assert outrigger.metric("outrigger_origin_connections_reused_total") == 4
    assert outrigger.metric("outrigger_origin_connections") == 1


def test_concurrent_requests_have_connections_of_their_own_and_the_surplus_is_not_kept(one_loop, origin):
    outrigger = one_loop(pool={"connections": 2})
    everybody_is_there = threading.Barrier(7)

    def wait(request):
        everybody_is_there.wait(20 * SLOW)
        request.answer(b"together", fields=PRIVATE)

    origin.on("*", wait)
    answers = []
    clients = [threading.Thread(target=lambda n=n: answers.append(outrigger.get(f"/{n}").body)) for n in range(6)]
    for client in clients:
        client.start()
    everybody_is_there.wait(20 * SLOW)
    for client in clients:
        client.join()
    assert answers == [b"together"] * 6
    assert origin.connections == 6
    until(lambda: len(origin.open) == 2, what="two kept connections")
    assert outrigger.metric("outrigger_origin_connections") == 2


def test_no_connection_is_kept_when_the_pool_is_0(one_loop, origin):
    outrigger = one_loop(pool={"connections": 0})
    origin.on("*", passed())
    for n in range(3):
        assert outrigger.get(f"/{n}").body == b"passed"
    assert origin.connections == 3
    until(lambda: not origin.open, what="no open connection")


def test_an_idle_connection_is_closed_after_a_while(one_loop, origin):
    outrigger = one_loop(pool={"idle": "150ms"})
    origin.on("*", passed())
    assert outrigger.get("/").status == 200
    until(lambda: not origin.open, what="the idle connection to be closed")
    assert outrigger.get("/").status == 200
    assert origin.connections == 2


@pytest.mark.parametrize("fields", [PRIVATE, {"Cache-Control": "max-age=0", "ETag": '"1"'}], ids=["response", "304"])
def test_an_idle_connection_is_closed_before_the_origin_would(one_loop, origin, fields):
    """A request that meets the origin's close on its way, and has a body, could not be sent again."""
    outrigger = one_loop()

    def answer(request):
        if request.get("if-none-match"):
            request.answer(b"", "304 Not Modified", {**fields, "Keep-Alive": "max=100, timeout=1"}, length=False)
        else:
            request.answer(b"body", fields={**fields, **({} if "ETag" in fields else {"Keep-Alive": "timeout=1"})})

    origin.on("*", answer)
    assert [outrigger.get("/").body for _ in range(2)] == [b"body"] * 2
    until(lambda: not origin.open, what="the idle connection to be closed")
    assert outrigger.get("/").body == b"body"
    assert origin.connections == 2


def test_a_connection_that_the_origin_closes_is_not_kept(one_loop, origin):
    outrigger = one_loop()

    def close(request):
        request.answer(b"bye", fields={**PRIVATE, "Connection": "close"})
        raise CloseConnection

    origin.on("*", close)
    for _ in range(3):
        assert outrigger.get("/").body == b"bye"
    assert origin.connections == 3
    assert outrigger.metric("outrigger_origin_connections_reused_total") == 0


def test_a_kept_connection_that_ended_meanwhile_is_not_used(one_loop, origin):
    outrigger = one_loop()
    origin.on("*", passed())
    assert outrigger.get("/").status == 200
    origin.close_connections()
    until(lambda: outrigger.metric("outrigger_origin_connections") == 0, what="the proxy to see it closed")
    assert outrigger.get("/", method="POST", body=b"once").status == 200
    assert origin.count() == 2


def test_a_connection_with_unread_bytes_is_never_used_again(one_loop, origin):
    outrigger = one_loop()
    speak = threading.Event()

    def whisper(request):
        request.answer(b"mine", fields=PRIVATE)
        speak.wait(20 * SLOW)
        request.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")

    origin.on("/whisper", whisper)
    origin.on("/next", passed(b"honest"))
    assert outrigger.get("/whisper").body == b"mine"
    speak.set()
    until(lambda: not origin.open, what="the connection to be closed")
    assert outrigger.get("/next").body == b"honest"
    assert origin.connections == 2


# ---- a kept connection turns out dead ----


def closes_when_used_again(request):
    if request.connection_number == 1 and request.target != "/first":
        raise CloseConnection
    request.answer(b"answered", fields=PRIVATE)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
def test_an_idempotent_request_is_sent_again_over_a_new_connection(one_loop, origin, method):
    outrigger = one_loop(retries=0)
    origin.on("*", closes_when_used_again)
    assert outrigger.get("/first").status == 200
    assert outrigger.get("/second", method=method).status == 200
    assert [r.connection_number for r in origin.requests if r.target == "/second"] == [1, 2]
    assert outrigger.metric("outrigger_origin_retries_total") == 1


@pytest.mark.parametrize("method, body", [("POST", None), ("POST", b"money"), ("PATCH", b"more"), ("PUT", b"body that was sent")])
def test_a_request_that_may_not_be_repeated_is_not(one_loop, origin, method, body):
    outrigger = one_loop()
    origin.on("*", closes_when_used_again)
    assert outrigger.get("/first").status == 200
    answer = outrigger.get("/second", method=method, body=body)
    assert answer.status == 502 and b"origin closed the connection without an answer" in answer.body
    assert [r.connection_number for r in origin.requests if r.target == "/second"] == [1]


def test_a_new_connection_that_is_closed_without_an_answer_is_502(one_loop, origin):
    outrigger = one_loop(retries=5)

    def close(request):
        raise CloseConnection

    origin.on("*", close)
    answer = outrigger.get("/")
    assert answer.status == 502 and b"origin closed the connection without an answer" in answer.body
    assert origin.count() == 1


# ---- deadlines ----


def test_an_origin_that_does_not_accept_is_504_and_then_skipped(make_outrigger):
    deaf = Deaf()
    outrigger = make_outrigger(origin=deaf.url, config={"workers": 1}, site={"timeouts": {"connect": "100ms"}, "down": "1h"})
    answer = outrigger.get("/")
    assert answer.status == 504 and b"origin did not accept the connection in time" in answer.body
    assert "detail=origin-connect-timeout" in answer.get("cache-status")
    answer = outrigger.get("/")
    assert answer.status == 503 and b"no origin of this site is available" in answer.body and answer.get("retry-after")
    deaf.stop()


def test_an_origin_that_refuses_is_502(make_outrigger):
    outrigger = make_outrigger(origin=f"http://127.0.0.1:{free_port()}")
    answer = outrigger.get("/")
    assert answer.status == 502 and b"origin refused the connection" in answer.body
    until(lambda: "origin refused the connection" in outrigger.errors(), what="the reason in the error log")


def test_an_origin_that_does_not_answer_is_504(make_outrigger, origin):
    outrigger = make_outrigger(origin=origin.url, site={"timeouts": {"first_byte": "100ms"}})
    enough = threading.Event()
    origin.on("*", lambda request: enough.wait(30 * SLOW))
    answer = outrigger.get("/")
    until(origin.count, what="the origin to have been asked")
    enough.set()
    assert answer.status == 504 and b"origin did not answer in time" in answer.body
    assert answer.get("content-type").startswith("text/html") and answer.get("cache-control") == "no-store"
    until(lambda: "origin did not answer in time" in outrigger.errors(), what="the reason in the error log")
    assert origin.count() == 1


def test_an_origin_that_stops_within_its_head_is_504(make_outrigger, origin):
    outrigger = make_outrigger(origin=origin.url, site={"timeouts": {"first_byte": "100ms"}, "down": 0})
    enough = threading.Event()

    def begin(request):
        request.send("HTTP/1.1 200 OK\r\nContent-Le")
        enough.wait(30 * SLOW)

    def stops():
        """False: not even that came in time."""
        answer = outrigger.get("/")
        assert answer.status == 504
        return b"origin stopped sending" in answer.body

    origin.on("*", begin)
    until(stops, what="an origin that stops")
    enough.set()


@pytest.mark.parametrize("framing", ["Content-Length: 100", "Transfer-Encoding: chunked"])
def test_an_origin_that_stops_within_its_body_is_seen_as_cut_off(make_outrigger, origin, framing):
    outrigger = make_outrigger(origin=origin.url, site={"timeouts": {"between_bytes": "100ms"}})
    enough = threading.Event()

    def begin(request):
        request.send(f"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n{framing}\r\n\r\n4\r\nhalf\r\n")
        enough.wait(30 * SLOW)

    origin.on("*", begin)
    answer = outrigger.get("/")
    assert answer.status == 200 and not answer.complete
    again = outrigger.get("/")
    enough.set()
    assert not again.complete and origin.count() == 2, "what broke off is not stored"
    until(lambda: "origin stopped sending" in outrigger.errors(), what="the reason in the error log")


def test_an_origin_that_stops_reading_a_body_is_504(make_outrigger, origin):
    outrigger = make_outrigger(origin=origin.url, site={"timeouts": {"first_byte": "100ms", "between_bytes": "100ms"}})
    enough = threading.Event()
    origin.read_bodies = False
    origin.on("*", lambda request: enough.wait(30 * SLOW))
    with outrigger.connect(timeout=20 * SLOW) as client:
        client.send(f"POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: {1 << 30}\r\n\r\n")
        client.socket.settimeout(0.05)
        answered = threading.Event()

        def pour():
            while not answered.is_set():
                try:
                    client.socket.send(b"x" * 65536)
                except socket.timeout:
                    pass
                except OSError:
                    return

        pouring = threading.Thread(target=pour)
        pouring.start()
        until(lambda: "origin stopped reading the request" in outrigger.errors(), timeout=20 * SLOW, what="the reason in the error log")
        answered.set()
        pouring.join()
    enough.set()
    lines = outrigger.await_access_lines(1)
    assert '" 504 ' in lines[0] and "origin-write-timeout" in lines[0]


def test_a_request_that_may_not_be_repeated_is_not_sent_to_another_origin(make_outrigger, make_origin):
    hanging, alive = make_origin(), make_origin()
    enough = threading.Event()
    hanging.on("*", lambda request: enough.wait(30 * SLOW))
    alive.on("*", passed(b"alive"))
    outrigger = make_outrigger(origin=[hanging.url, alive.url], config={"workers": 1}, site={"timeouts": {"first_byte": "200ms"}, "down": 0})
    answers = [outrigger.get("/", method="POST", body=b"once").status for _ in range(4)]
    assert set(answers) <= {200, 504} and answers.count(504) >= 2  # more, when the machine is slow
    until(lambda: hanging.count() == alive.count() == 2, what="each to have been asked twice")
    enough.set()


def test_a_head_without_end_from_the_origin_is_502(proxy, back):
    def pour(request):
        request.send("HTTP/1.1 200 OK\r\n")
        for n in range(1000):
            request.send(f"X-{n}: {'x' * 1000}\r\n")

    back.on("/endless-head", pour)
    answer = proxy.get("/endless-head")
    assert answer.status == 502 and b"origin's response header too large" in answer.body


def test_an_ipv6_address_is_connected_to(make_outrigger, make_origin):
    origin = make_origin(address="::1")
    origin.on("/", b"by IPv6")
    assert make_outrigger(origin=f"http://[::1]:{origin.port}").get("/").body == b"by IPv6"


def test_a_client_that_is_gone_ends_the_request_that_only_it_wanted(make_outrigger, origin):
    """Reset, while the origin is still sending what may not be stored."""
    outrigger = make_outrigger(origin=origin.url)
    ended = threading.Event()

    def pour(request):
        request.send("HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                request.send(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
        except OSError:
            ended.set()

    origin.on("*", pour)
    with outrigger.connect() as client:
        client.send("GET / HTTP/1.1\r\nHost: site.test\r\n\r\n").read_exactly(10_000)
    assert ended.wait(20 * SLOW)
    until(lambda: outrigger.metric("outrigger_origin_connections") == 0 and outrigger.metric("outrigger_cache_fills") == 0, what="nothing to be left")


# ---- framing and versions ----

BODY = b"The same bytes, however they come. " * 400


def in_chunks(data, size=1000):
    return b"".join(b"%x\r\n%s\r\n" % (len(data[i : i + size]), data[i : i + size]) for i in range(0, len(data), size)) + b"0\r\n\r\n"


FRAMINGS = {
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n", BODY, False),
    "chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", in_chunks(BODY), False),
    "chunked-byte-wise": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", in_chunks(BODY[:64], 1), False),
    "chunked-trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nTrailer: X-Sum\r\n", in_chunks(BODY)[:-2] + b"X-Sum: 1\r\n\r\n", False),
    "until-close": (b"HTTP/1.1 200 OK\r\n", BODY, True),
    "close-and-length": (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n", BODY, True),
    "1.0-until-close": (b"HTTP/1.0 200 OK\r\n", BODY, True),
    "1.0-length": (b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n", BODY, True),
    "1.0-keep-alive": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: %d\r\n", BODY, False),
    "no-reason": (b"HTTP/1.1 200 \r\nContent-Length: %d\r\n", BODY, False),
    "empty": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", b"", False),
    "empty-chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n", False),
    "empty-until-close": (b"HTTP/1.0 200 OK\r\n", b"", True),
}


@pytest.mark.parametrize("pieces", [1, 7], ids=["whole", "in-pieces"])
@pytest.mark.parametrize("name", FRAMINGS)
def test_a_body_arrives_and_is_stored_however_it_is_framed(proxy, back, name, pieces):
    head, data, closes = FRAMINGS[name]
    path = f"/framing-{name}-{pieces}"
    expected = b"" if "empty" in name else BODY[:64] if "byte-wise" in name else BODY
    raw = (head % len(BODY) if b"%d" in head else head) + b"Cache-Control: max-age=60\r\n\r\n" + data

    def answer(request):
        size = len(raw) // pieces + 1
        for at in range(0, len(raw), size):
            request.send(raw[at : at + size])
        if closes:
            raise CloseConnection

    back.on(path, answer)
    first, second = proxy.get(path), proxy.get(path)
    assert (first.status, first.complete, first.body) == (200, True, expected)
    assert (second.status, second.complete, second.body) == (200, True, expected)
    assert "hit" in second.get("cache-status") and back.count(path) == 1
    assert second.get("content-length") == str(len(expected)), "a stored response has a known length"
    assert second.get("x-sum") is None


def test_an_http_1_0_connection_is_kept_only_when_it_says_so(one_loop, origin):
    outrigger = one_loop()
    origin.on("/kept", lambda request: request.send("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nCache-Control: no-store\r\nContent-Length: 2\r\n\r\nok"))
    origin.on("/closed", lambda request: request.send("HTTP/1.0 200 OK\r\nCache-Control: no-store\r\nContent-Length: 2\r\n\r\nok"))
    for target, connections in (("/kept", 1), ("/kept", 1), ("/closed", 1), ("/kept", 2)):
        assert outrigger.get(target).body == b"ok"
        assert origin.connections == connections, target


def test_a_truncated_body_is_seen_as_such_and_not_stored(proxy, back):
    def cut(request):
        request.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 1000\r\n\r\nonly this")
        raise CloseConnection

    back.on("/cut", cut)
    for attempt in (1, 2):
        answer = proxy.get("/cut")
        assert not answer.complete and b"only this".startswith(answer.body)
        assert back.count("/cut") == attempt


# ---- interim responses ----


def with_interim(request):
    request.send("HTTP/1.1 102 Processing\r\n\r\n")
    request.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n")
    request.send("HTTP/1.1 103 Early Hints\r\nLink: </b.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\ndone")


def test_interim_responses_reach_an_http_1_1_client(proxy, back):
    back.on("/interim", with_interim)
    interim = []
    with proxy.connect() as client:
        answer = client.send("GET /interim HTTP/1.1\r\nHost: site.test\r\n\r\n").response(interim=interim)
        assert (answer.status, answer.body) == (200, b"done")
        assert [i.status for i in interim] == [102, 103, 103]
        assert [i.get("link") for i in interim] == [None, "</a.css>; rel=preload", "</b.css>; rel=preload"]
        assert interim[1].get("x-hop") is None and interim[1].get("content-length") is None
        interim.clear()
        answer = client.send("GET /interim HTTP/1.1\r\nHost: site.test\r\n\r\n").response(interim=interim)
        assert answer.body == b"done" and "hit" in answer.get("cache-status") and not interim


def test_an_interim_response_announces_no_body(proxy, back):
    """RFC 9110 §8.6: whoever believed that length would read the beginning of the response as its body."""
    back.on("/announcing", lambda request: request.send(
        "HTTP/1.1 103 Early Hints\r\nContent-Length: 17\r\nX-Hint: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone"))
    interim = []
    with proxy.connect() as client:
        answer = client.send("GET /announcing HTTP/1.1\r\nHost: site.test\r\n\r\n").response(interim=interim)
    assert answer.body == b"done" and [(i.status, i.get("x-hint"), i.get("content-length")) for i in interim] == [(103, "1", None)]


def test_interim_responses_do_not_reach_an_http_1_0_client(proxy, back):
    back.on("/interim-1.0", with_interim)
    interim = []
    with proxy.connect() as client:
        answer = client.send("GET /interim-1.0 HTTP/1.0\r\nHost: site.test\r\n\r\n").response(interim=interim)
        assert (answer.status, answer.body, interim) == (200, b"done", [])


def test_a_flood_of_interim_responses_is_502(proxy, back):
    def flood(request):
        request.send("HTTP/1.1 103 Early Hints\r\n\r\n" * 100)
        request.answer(b"late")

    back.on("/flood", flood)
    answer = proxy.get("/flood")
    assert answer.status == 502 and b"origin sent too many interim responses" in answer.body


# ---- status codes ----


@pytest.mark.parametrize("status", ["201 Created", "299 Odd", "302 Found", "418 I'm a teapot", "499 Whatever", "500 Oh", "599 Edge", "600 Beyond", "999 No Such"])
def test_any_status_passes_as_it_came(proxy, back, status):
    path = f"/status-{status.split()[0]}"
    back.on(path, lambda request: request.answer(b"as is", status=status, fields={"X-From": "origin"}))
    answer = proxy.get(path)
    assert f"{answer.status} {answer.reason}" == status
    assert answer.body == b"as is" and answer.get("x-from") == "origin"
    lines = until(lambda: [line for line in proxy.access_lines() if f'"GET {path} ' in line], what="the access log line")
    assert f'" {answer.status} 5 ' in lines[0]


def test_a_status_without_a_body_needs_no_length(proxy, back):
    back.on("/empty", lambda request: request.answer(status="204 No Content", fields={"ETag": '"x"'}, length=False))
    with proxy.connect() as client:
        for _ in range(2):
            answer = client.request("/empty")
            assert (answer.status, answer.reason, answer.body) == (204, "No Content", b"")
            assert answer.get("transfer-encoding") is None and answer.get("content-length") is None


def test_a_304_passes_to_the_one_who_asked_and_is_502_for_others(proxy, back):
    back.on("/not-modified", lambda request: request.answer(status="304 Not Modified", fields={"ETag": '"x"'}, length=False))
    with proxy.connect() as client:
        for _ in range(2):
            asked = client.request("/not-modified", method="OPTIONS", fields={"If-None-Match": '"x"'})
            assert (asked.status, asked.body, asked.get("etag")) == (304, b"", '"x"')
        assert client.request("/not-modified").status == 502


@pytest.mark.parametrize("line", ["HTTP/1.1 99 Low", "HTTP/1.1 1000 High", "HTTP/1.1 2x0 Hm", "HTTP/2.0 200 OK", "ICY 200 OK", "garbage"])
def test_a_status_line_that_is_none_is_502(proxy, back, line):
    path = f"/line-{abs(hash(line))}"

    def answer(request):
        request.send(f"{line}\r\nContent-Length: 2\r\n\r\nok")
        raise CloseConnection

    back.on(path, answer)
    answer = proxy.get(path)
    assert answer.status == 502 and b"origin sent a malformed response" in answer.body


# ---- several origins ----


@pytest.fixture
def three(make_origin):
    origins = [make_origin() for _ in range(3)]
    for number, origin in enumerate(origins):
        origin.on("*", passed(b"%d" % number))
    return origins


def test_several_origins_take_turns(make_outrigger, three):
    outrigger = make_outrigger(origin=[o.url for o in three], config={"workers": 1})
    bodies = [outrigger.get(f"/{n}").body for n in range(9)]
    assert sorted(bodies) == [b"0"] * 3 + [b"1"] * 3 + [b"2"] * 3
    assert bodies[:3] == bodies[3:6] == bodies[6:]


def test_a_dead_origin_is_skipped_and_used_again_when_it_is_back(make_outrigger, make_origin, three):
    outrigger = make_outrigger(origin=[o.url for o in three], config={"workers": 1}, site={"down": "100ms"})
    port = three[1].port
    three[1].stop()
    assert {outrigger.get(f"/{n}").body for n in range(12)} == {b"0", b"2"}
    # The next while begins with each attempt, so that an attempt a while is the most there is.
    assert outrigger.metric("outrigger_origin_retries_total") >= 1
    until(lambda: "origin refused the connection" in outrigger.errors(), what="the reason in the error log")
    back = make_origin(port=port)
    back.on("*", passed(b"back"))
    until(lambda: outrigger.get("/").body == b"back", what="the origin to be used again")


def test_a_dead_origin_is_left_alone_while_it_is_down(make_outrigger, three):
    outrigger = make_outrigger(origin=[o.url for o in three], config={"workers": 1}, site={"down": "1h"})
    three[1].stop()
    assert {outrigger.get(f"/{n}").body for n in range(12)} == {b"0", b"2"}
    assert outrigger.metric("outrigger_origin_retries_total") == 1


def test_a_request_with_a_body_goes_to_another_origin_when_the_first_was_not_reached(make_outrigger, make_origin):
    alive = make_origin()
    alive.on("*", lambda request: request.answer(request.body, fields=PRIVATE))
    outrigger = make_outrigger(origin=[f"http://127.0.0.1:{free_port()}", alive.url], config={"workers": 1})
    for n in range(4):
        assert outrigger.get("/", method="POST", body=b"kept %d" % n).body == b"kept %d" % n
    assert alive.count() == 4


def test_an_origin_that_hangs_is_left_for_another(make_outrigger, make_origin):
    hanging, alive = make_origin(), make_origin()
    enough = threading.Event()
    hanging.on("*", lambda request: enough.wait(30 * SLOW))
    alive.on("*", passed(b"alive"))
    outrigger = make_outrigger(origin=[hanging.url, alive.url], config={"workers": 1}, site={"timeouts": {"first_byte": "1s"}, "down": "1h"})
    assert [outrigger.get(f"/{n}").body for n in range(6)] == [b"alive"] * 6
    enough.set()
    assert hanging.count() == 1


def test_retries_are_counted_down(make_outrigger):
    outrigger = make_outrigger(origin=[f"http://127.0.0.1:{free_port()}" for _ in range(5)], config={"workers": 1}, site={"retries": 2, "down": 0})
    assert outrigger.get("/").status == 502
    assert outrigger.metric("outrigger_origin_retries_total") == 2
