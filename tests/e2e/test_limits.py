"""Limits and deadlines: each closes the one who overstepped it, says so in the log, and leaves the others alone."""
import contextlib
import threading
import time

import pytest

from harness.bulk import block
from harness.outrigger import SLOW
from harness.poll import at_pace, in_time, until

HOST = "Host: site.test\r\n"


@pytest.fixture(scope="module")
def limited(back, tmp_path_factory):
    """An accelerator with tiny limits on what a head may hold."""
    from harness.outrigger import Outrigger

    outrigger = Outrigger(tmp_path_factory.mktemp("limited"), origin=back.url,
                          config={"limits": {"header_bytes": "2KiB", "header_count": 20, "url_bytes": "256B", "body_bytes": "10KiB"}})
    yield outrigger
    outrigger.stop()


def assert_logged(outrigger, reason):
    until(lambda: reason in outrigger.errors(), what=f'"{reason}" in the error log: {outrigger.errors()}')


def assert_refused(outrigger, back, raw, status, reason):
    before = back.count()
    with outrigger.connect() as client:
        data = client.send(raw).read_to_end()
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status) and b"connection: close" in head.lower(), data
    assert data.count(b"HTTP/1.1 ") == 1
    assert reason.encode() in body, "a readable body"
    assert_logged(outrigger, reason)
    lines = until(lambda: [line for line in outrigger.access_lines() if f'" {status} ' in line], what="the access log line")
    assert lines
    assert back.count() == before
    back.on("/well", b"well")
    assert outrigger.get("/well").body == b"well"


def test_a_head_over_the_limit_is_431(limited, back):
    assert_refused(limited, back, f"GET / HTTP/1.1\r\n{HOST}X: {'x' * 3000}\r\n\r\n", 431, "request header too large")


def test_a_head_over_the_limit_that_never_ends_is_431(limited, back):
    assert_refused(limited, back, f"GET / HTTP/1.1\r\n{HOST}X: {'x' * 3000}", 431, "request header too large")


def test_a_head_below_the_limit_passes(limited, back):
    back.on("/near", lambda request: request.answer(request.get("x")))
    assert limited.get("/near", fields={"X": "x" * 1800}).body == b"x" * 1800


def test_too_many_fields_are_431(limited, back):
    assert_refused(limited, back, f"GET / HTTP/1.1\r\n{HOST}" + "".join(f"X-{n}: y\r\n" for n in range(30)) + "\r\n", 431, "too many request fields")


def test_as_many_fields_as_allowed_pass(limited, back):
    back.on("/fields", lambda request: request.answer(str(len([n for n, _ in request.fields if n.startswith("X-") and n[2:].isdigit()]))))
    assert limited.get("/fields", fields={f"X-{n}": "y" for n in range(19)}).body == b"19"


def test_a_url_over_the_limit_is_414(limited, back):
    assert_refused(limited, back, f"GET /{'u' * 300} HTTP/1.1\r\n{HOST}\r\n", 414, "request target too long")


@pytest.mark.parametrize("bad, status", [("X: {long}\r\n", 431), ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400), ("Transfer-Encoding: nonsense\r\n", 501), ("Expect: nonsense\r\n", 417)])
def test_a_refusal_is_never_stored(limited, back, path, bad, status):
    """Denial by poisoned errors (HARDENING, cache)."""
    back.on(path, b"page")
    with limited.connect() as client:
        assert client.send(f"GET {path} HTTP/1.1\r\n{HOST}{bad.format(long='x' * 3000)}\r\n").response().status == status
    assert [limited.get(path).body for _ in range(2)] == [b"page"] * 2 and back.count(path) == 1


def test_a_url_over_every_limit_is_414(limited, back):
    assert_refused(limited, back, f"GET /{'u' * 30000} HTTP/1.1\r\n{HOST}\r\n", 414, "request target too long")


def test_a_url_at_the_limit_passes(limited, back):
    target = "/" + "u" * 255
    back.on(target, b"long")
    assert limited.get(target).body == b"long"


def test_a_body_over_the_limit_is_413(limited, back):
    assert_refused(limited, back, f"POST / HTTP/1.1\r\n{HOST}Content-Length: 10241\r\n\r\n", 413, "request body too large")


def test_a_chunked_body_over_the_limit_is_413_and_never_whole(limited, back):
    whole = []
    back.on("/up", lambda request: (whole.append(request.body), request.answer("whole")))
    with limited.connect() as client:
        client.send(f"POST /up HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n1000\r\n{'x' * 4096}\r\n2000\r\n{'x' * 8192}\r\n0\r\n\r\n")
        data = client.read_to_end()
    assert data.startswith(b"HTTP/1.1 413 ") and data.count(b"HTTP/1.1 ") == 1, data
    assert limited.get("/well").status in (200, 404) and whole == []


def test_a_body_at_the_limit_passes(limited, back):
    back.on("/exact", lambda request: request.answer(str(len(request.body))))
    assert limited.get("/exact", method="POST", body=b"x" * 10240).body == b"10240"
    assert limited.get("/exact", method="POST", fields={"Transfer-Encoding": "chunked"}, body=b"2800\r\n" + b"x" * 10240 + b"\r\n0\r\n\r\n").body == b"10240"


def hold(outrigger):
    """A client that keeps asking on one connection; stop() asserts that it never failed."""
    class Holder(threading.Thread):
        def __init__(self):
            super().__init__()
            self.stopping, self.failures, self.answers = threading.Event(), [], 0

        def run(self):
            try:
                with outrigger.connect() as client:
                    while not self.stopping.is_set():
                        assert client.request("/well").body == b"well"
                        self.answers += 1
                        self.stopping.wait(0.01)
            except Exception as failure:
                self.failures.append(repr(failure))

        def stop(self):
            self.stopping.set()
            self.join()
            assert self.failures == [] and self.answers > 0

    holder = Holder()
    holder.start()
    until(lambda: holder.answers > 0, what="the first answer")
    return holder


def timed_out(client, statuses):
    """The connection ends without our doing; what came before that is nothing, or one of `statuses` with a body."""
    data = client.read_to_end()
    if data:
        head, _, body = data.partition(b"\r\n\r\n")
        assert int(head[9:12]) in statuses and b"connection: close" in head.lower() and body, data
    return data


@pytest.mark.parametrize("begin", ["", "GET", f"GET / HTTP/1.1\r\n{HOST}", f"GET / HTTP/1.1\r\n{HOST}X: y\r\n\r\nGET / HT"])
def test_a_head_that_takes_too_long_is_408_or_closed(make_outrigger, origin, begin):
    origin.on("/well", b"well").on("/", b"root")
    outrigger = make_outrigger(origin=origin.url, config={"timeouts": {"header": "300ms", "keep_alive": "60s"}})
    others = hold(outrigger)

    def begun():
        client = outrigger.connect().send(begin)
        if "\r\n\r\n" in begin:
            assert client.response().body == b"root"
        return client

    with in_time(begun, 0.2) as client:
        data = timed_out(client, [408])
        assert data or not begin, "who had begun is told"
    others.stop()
    if begin:
        assert_logged(outrigger, "request header not received in time")


def test_the_header_deadline_is_absolute(make_outrigger, origin):
    """A byte now and then does not extend it."""
    outrigger = make_outrigger(origin=origin.url, config={"timeouts": {"header": "500ms"}})
    with outrigger.connect() as client:
        client.send(f"GET / HTTP/1.1\r\n{HOST}X: ")
        begin = time.monotonic()
        ended = threading.Event()

        def trickle():
            try:
                while not ended.wait(0.05):
                    client.send("x")
            except OSError:
                pass

        trickler = threading.Thread(target=trickle)
        trickler.start()
        timed_out(client, [408])
        ended.set()
        trickler.join()
        assert time.monotonic() - begin < 5 * SLOW
    assert origin.count() == 0


def test_a_body_without_progress_is_ended(make_outrigger, origin):
    whole = []
    origin.on("/up", lambda request: (whole.append(request.body), request.answer("whole"))).on("/well", b"well")
    outrigger = make_outrigger(origin=origin.url, config={"timeouts": {"body": "300ms", "body_min_rate": 0}})
    others = hold(outrigger)
    with outrigger.connect() as client:
        client.send(f"POST /up HTTP/1.1\r\n{HOST}Content-Length: 10\r\n\r\nhello")
        assert b"408" in timed_out(client, [408])
    others.stop()
    assert_logged(outrigger, "request body below the minimum rate")
    assert whole == []


def test_a_body_below_the_minimum_rate_is_ended(make_outrigger, origin):
    """It does make progress, at 20 bytes a second or so."""
    whole = []
    origin.on("/up", lambda request: (whole.append(request.body), request.answer("whole"))).on("/well", b"well")
    outrigger = make_outrigger(origin=origin.url, config={"timeouts": {"body": "400ms", "body_min_rate": "10KiB"}})
    others = hold(outrigger)
    with outrigger.connect() as client:
        client.send(f"POST /up HTTP/1.1\r\n{HOST}Content-Length: 1000000\r\n\r\n")
        ended = threading.Event()

        def trickle():
            try:
                while not ended.wait(0.05):
                    client.send("x")
            except OSError:
                pass

        trickler = threading.Thread(target=trickle)
        trickler.start()
        timed_out(client, [408])
        ended.set()
        trickler.join()
    others.stop()
    assert_logged(outrigger, "request body below the minimum rate")
    assert whole == []


def test_a_slow_origin_does_not_make_the_client_look_slow(make_outrigger, origin):
    """The body's clock runs while we want bytes, not while the origin does not."""
    go = threading.Event()
    origin.read_bodies = False

    def take(request):
        go.wait(60)
        request.connection.read_exactly(8 << 20)
        request.answer("taken")

    origin.on("/up", take)
    outrigger = make_outrigger(origin=origin.url, config={"timeouts": {"body": "200ms", "body_min_rate": "10KiB"}})
    with outrigger.connect(timeout=60) as client:
        client.send(f"POST /up HTTP/1.1\r\n{HOST}Content-Length: {8 << 20}\r\n\r\n")
        sender = threading.Thread(target=lambda: [client.send(block(n)) for n in range(128)])
        sender.start()
        sender.join(1.0)  # the buffers fill, and then several times the timeout passes
        go.set()
        assert client.response().body == b"taken"
        sender.join()


def test_an_idle_kept_connection_is_closed_without_a_word(make_outrigger, origin):
    origin.on("/well", b"well")
    outrigger = make_outrigger(origin=origin.url, config={"timeouts": {"keep_alive": "300ms"}})

    def kept():
        client = outrigger.connect()
        assert client.request("/well").body == b"well"
        assert client.request("/well").body == b"well"
        return client

    with in_time(kept, 0.2) as client:
        assert client.closed_by_peer()
    assert all('"GET /well HTTP/1.1" 200 ' in line for line in outrigger.await_access_lines(2))


def test_keep_alive_0_closes_after_each_answer(make_outrigger, origin):
    origin.on("/well", b"well")
    outrigger = make_outrigger(origin=origin.url, config={"timeouts": {"keep_alive": 0}})
    with outrigger.connect() as client:
        response = client.request("/well")
        assert (response.body, response.get("connection")) == (b"well", "close")
        assert client.closed_by_peer()


@pytest.mark.parametrize("cache_control", ["no-store", "max-age=60"])
def test_a_client_that_stops_reading_is_cut_off(make_outrigger, origin, cache_control):
    origin.on("/down", lambda request: request.answer(block(1) * 400, fields={"Cache-Control": cache_control})).on("/well", b"well")
    outrigger = make_outrigger(origin=origin.url, config={"timeouts": {"write_stall": "300ms"}, "cache": {"memory": "256MiB"}})
    others = hold(outrigger)
    with outrigger.connect(receive_buffer=4096) as client:
        client.send(f"GET /down HTTP/1.1\r\n{HOST}\r\n")
        assert client.head().status == 200
        assert_logged(outrigger, "client stopped reading")
        assert len(client.read_to_end()) < 400 * 65536
    others.stop()


def test_a_slow_reader_that_reads_is_not_cut_off(make_outrigger, origin):
    """So slowly that the kernel's buffer has no room to speak of within the timeout."""
    origin.on("/down", lambda request: request.answer(block(1) * 400, fields={"Cache-Control": "no-store"}))
    outrigger = make_outrigger(origin=origin.url, config={"timeouts": {"write_stall": "400ms" if SLOW == 1 else "1200ms"}})

    def read_slowly(pace):
        with outrigger.connect(receive_buffer=65536) as client:
            client.send(f"GET /down HTTP/1.1\r\n{HOST}\r\n")
            assert client.head().status == 200
            left = 400 * 65536 - len(client.buffer)
            begin = time.monotonic()
            while left > 0:
                data = client.socket.recv(65536)
                assert data, f"cut off, {left} bytes before its end"
                left -= len(data)
                if time.monotonic() - begin < (1.5 if SLOW == 1 else 3):
                    threading.Event().wait(0.05)
                pace()
            assert left == 0

    at_pace(read_slowly, 0.2)


def test_a_client_that_reads_a_little_now_and_then_for_ever_is_cut_off(make_outrigger, origin):
    origin.on("/down", lambda request: request.answer(block(1) * 400, fields={"Cache-Control": "no-store"}))
    outrigger = make_outrigger(origin=origin.url, config={"timeouts": {"write_stall": "300ms", "write_min_rate": "100MiB"}})
    with outrigger.connect(receive_buffer=4096) as client:
        client.send(f"GET /down HTTP/1.1\r\n{HOST}\r\n")
        assert client.head().status == 200
        with contextlib.suppress(ConnectionError):
            while client.socket.recv(65536):
                threading.Event().wait(0.01)
        assert_logged(outrigger, "read too slowly")


def test_an_origin_that_reads_slowly_is_not_given_up(make_outrigger, origin):
    """The same the other way."""
    total = 400 * 65536
    origin.read_bodies = False
    outrigger = make_outrigger(origin=origin.url, site={"timeouts": {"between_bytes": "400ms" if SLOW == 1 else "1200ms"}, "down": 0})

    def upload(pace):
        def take(request):
            left, begin = total - len(request.connection.buffer), time.monotonic()
            while left > 0:
                left -= len(request.connection.socket.recv(65536)) or left
                if time.monotonic() - begin < (1.5 if SLOW == 1 else 3):
                    threading.Event().wait(0.05)
                pace()
            request.answer("taken")

        origin.on("/up", take)
        with outrigger.connect(timeout=60) as client:
            client.send(f"POST /up HTTP/1.1\r\n{HOST}Content-Length: {total}\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                for n in range(400):
                    client.send(block(n))
            assert client.response().body == b"taken"

    at_pace(upload, 0.2)


def test_an_origin_that_stops_reading_is_504(make_outrigger, origin):
    release = threading.Event()
    origin.read_bodies = False
    origin.on("/up", lambda request: release.wait(60))
    outrigger = make_outrigger(origin=origin.url, site={"timeouts": {"between_bytes": "300ms"}})
    with outrigger.connect(timeout=60) as client:
        client.send(f"POST /up HTTP/1.1\r\n{HOST}Content-Length: {1 << 30}\r\n\r\n")
        with contextlib.suppress(OSError):
            for n in range(1 << 14):
                client.send(block(n))
        assert client.response().status == 504
    release.set()
    assert_logged(outrigger, "origin stopped reading the request")


def test_connections_over_the_limit_get_503_and_the_others_keep_working(make_outrigger, origin):
    origin.on("/well", b"well")
    outrigger = make_outrigger(origin=origin.url, config={"limits": {"connections": 8}})
    kept = [outrigger.connect() for _ in range(8)]
    for client in kept:
        assert client.request("/well").body == b"well"
    for _ in range(3):
        with outrigger.connect() as client:
            data = client.read_to_end()
        assert data.startswith(b"HTTP/1.1 503 ") and b"connection: close" in data.lower() and b"\r\n\r\n" in data, data
    assert outrigger.metric("outrigger_client_connections_refused_total") == 3
    for client in kept:
        assert client.request("/well").body == b"well"
    kept.pop().close()

    def served():
        with outrigger.connect() as client:
            try:
                return client.request("/well").status == 200
            except OSError:
                return False

    until(served, what="a place that became free")
    for client in kept:
        client.close()


@pytest.mark.parametrize("timeout, word", [("first_byte", "origin did not answer in time"), ("between_bytes", "origin stopped sending")])
def test_an_origin_that_takes_too_long_is_504_or_cut(make_outrigger, origin, timeout, word):
    release = threading.Event()

    def hang(request):
        if timeout == "between_bytes":
            request.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\nhello")
        release.wait(60)

    origin.on("/hang", hang).on("/well", b"well")
    outrigger = make_outrigger(origin=origin.url, site={"timeouts": {timeout: "300ms"}, "retries": 0})
    others = hold(outrigger)
    response = outrigger.get("/hang")
    release.set()
    others.stop()
    if timeout == "first_byte":
        assert response.status == 504 and word.encode() in response.body
    else:
        assert not response.complete
    assert_logged(outrigger, word)
