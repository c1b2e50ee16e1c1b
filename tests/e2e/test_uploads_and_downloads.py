"""Bodies of any size, both ways: byte-exact, with bounded memory whoever is slow, and an end that is seen as what it is."""
import contextlib
import os
import select
import threading

import pytest

from harness.bulk import Check, block, blocks, receive
from harness.http import Truncated
from harness.outrigger import BINARY
from harness.poll import until

HOST = "Host: site.test\r\n"
LARGE = 300 << 20
# What the proxy may grow by while it moves LARGE: nothing of its size. AddressSanitizer keeps freed memory for a while.
GROWTH = (200 if "address" in BINARY or "thread" in BINARY else 12) << 20
# What the kernel (socket buffers on two connections) and the proxy hold of a body that nobody reads.
HELD = 32 << 20


def memory(pid, what="VmRSS"):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith(what))


class Peak:
    """The growth of a process's memory over its peak at the beginning."""

    def __init__(self, outrigger):
        self.pid = outrigger.await_children("proxy", 1)[0]
        with open(f"/proc/{self.pid}/clear_refs", "w", encoding="ascii") as clear:
            clear.write("5")  # VmHWM begins anew
        self.before = memory(self.pid)

    def growth(self):
        return memory(self.pid, "VmHWM") - self.before


def send_until_blocked(connection, pieces):
    """Sends for as long as the other side takes anything; returns the bytes that were not taken of the last piece."""
    connection.socket.setblocking(False)
    sent = 0
    rest = b""
    while True:
        rest = rest or next(pieces)
        try:
            count = connection.socket.send(rest)
        except BlockingIOError:
            if not select.select([], [connection.socket], [], 0.5)[1]:
                connection.socket.settimeout(60)
                return sent, rest
            continue
        sent, rest = sent + count, rest[count:]


def read_bulk(request, total, check):
    """An upload of known length, read by the origin without keeping it."""
    receive(request.connection, total, check)


def test_an_upload_arrives_byte_for_byte(make_outrigger, origin):
    checks = []
    origin.read_bodies = False

    def take(request):
        checks.append(Check())
        read_bulk(request, int(request.get("content-length")), checks[-1])
        request.answer("taken")

    origin.on("/up", take)
    outrigger = make_outrigger(origin=origin.url)
    with outrigger.connect() as client:
        for size in (0, 1, 2, 1000, 65535, 65536, 65537, 1000000, 5 << 20):
            client.send(f"POST /up HTTP/1.1\r\n{HOST}Content-Length: {size}\r\n\r\n")
            for piece in blocks(size):
                client.send(piece)
            assert client.response().body == b"taken"
            assert checks[-1].count == size


def test_a_chunked_upload_arrives_byte_for_byte(proxy, back, path):
    back.on(path, lambda request: request.answer(request.body, fields={"X-Framing": str(request.get("transfer-encoding")), "X-Length": str(request.get("content-length"))}))
    with proxy.connect() as client:
        for sizes in ([], [1], [5, 1, 4096], [65536] * 3 + [1] * 500, [200000]):
            body = b"".join(block(i)[:size] if size <= 65536 else block(i) * (size // 65536 + 1) for i, size in enumerate(sizes))
            body = body[: sum(sizes)]
            client.send(f"POST {path} HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n")
            at = 0
            for size in sizes:
                client.send(f"{size:x}\r\n".encode() + body[at : at + size] + b"\r\n")
                at += size
            response = client.send("0\r\n\r\n").response()
            assert response.body == body
            assert (response.get("x-framing"), response.get("x-length")) == ("chunked", "None")


def test_the_origin_gets_an_upload_while_it_is_sent(proxy, back, path):
    """Each piece is seen by the origin before the next is sent: nothing is held back."""
    seen, arrived = [], threading.Semaphore(0)

    def take(request):
        for _ in range(5):
            seen.append(request.connection.chunk())
            arrived.release()
        assert request.connection.chunk() == b""
        request.answer("taken")

    back.read_bodies = False
    try:
        back.on(path, take)
        with proxy.connect() as client:
            client.send(f"POST {path} HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n")
            for n in range(5):
                client.send(f"6\r\npiece{n}\r\n")
                assert arrived.acquire(timeout=20)
                assert b"".join(seen).endswith(b"piece%d" % n)
            assert client.send("0\r\n\r\n").response().body == b"taken"
    finally:
        back.read_bodies = True


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_large_upload_to_a_slow_origin_is_held_back_and_needs_no_memory(make_outrigger, origin, framing):
    go, check = threading.Event(), Check()
    origin.read_bodies = False

    def take(request):
        go.wait(60)
        if framing == "length":
            read_bulk(request, LARGE, check)
        else:
            while True:
                size = int(request.connection.read_until(b"\r\n"), 16)
                if size == 0:
                    break
                end = check.count + size
                receive(request.connection, end, check)
                request.connection.read_exactly(2)
            request.connection.read_exactly(2)
        request.answer("taken")

    def pieces():
        for piece in blocks(LARGE):
            yield piece if framing == "length" else b"%x\r\n" % len(piece) + piece + b"\r\n"
        if framing == "chunked":
            yield b"0\r\n\r\n"

    origin.on("/up", take)
    outrigger = make_outrigger(origin=origin.url)
    peak = Peak(outrigger)
    with outrigger.connect(timeout=60) as client:
        client.send(f"PUT /up HTTP/1.1\r\n{HOST}" + (f"Content-Length: {LARGE}" if framing == "length" else "Transfer-Encoding: chunked") + "\r\n\r\n")
        body = pieces()
        sent, rest = send_until_blocked(client, body)
        assert sent < HELD, "the client was not held back"
        go.set()
        client.send(rest)
        for piece in body:
            client.send(piece)
        assert client.response().body == b"taken"
    assert check.count == LARGE
    assert peak.growth() < GROWTH, f"{peak.growth() >> 20} MiB"


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_large_download_to_a_slow_client_is_held_back_and_needs_no_memory(make_outrigger, origin, framing):
    sent = [0]

    def give(request):
        field = {"length": f"Content-Length: {LARGE}\r\n", "chunked": "Transfer-Encoding: chunked\r\n", "close": "Connection: close\r\n"}[framing]
        request.send(f"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\n{field}\r\n")
        request.connection.socket.settimeout(60)
        for piece in blocks(LARGE):
            request.send(b"%x\r\n" % len(piece) + piece + b"\r\n" if framing == "chunked" else piece)
            sent[0] += len(piece)
        if framing == "chunked":
            request.send(b"0\r\n\r\n")
        if framing == "close":
            raise Truncated

    origin.on("/down", give)
    outrigger = make_outrigger(origin=origin.url)
    peak = Peak(outrigger)
    with outrigger.connect(timeout=60) as client:
        client.send(f"GET /down HTTP/1.1\r\n{HOST}\r\n")
        head = client.head()
        # The client reads nothing more until the origin has been stopped by that.
        before = -1
        while before != sent[0]:
            before = sent[0]
            select.select([], [], [], 0.5)
        assert sent[0] < HELD, "the origin was not held back"
        if framing == "length":
            assert head.get("content-length") == str(LARGE)
            assert receive(client, LARGE) == LARGE
        else:
            assert head.get("transfer-encoding") == "chunked"
            check = Check()
            while size := int(client.read_until(b"\r\n"), 16):
                receive(client, check.count + size, check)
                assert client.read_exactly(2) == b"\r\n"
            assert check.count == LARGE
    assert peak.growth() < GROWTH, f"{peak.growth() >> 20} MiB"


def test_a_stored_download_is_byte_exact_for_both(make_outrigger, origin):
    size = 5000000
    origin.on("/big", lambda request: (request.send(f"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: {size}\r\n\r\n"),
                                       [request.send(piece) for piece in blocks(size)]))
    outrigger = make_outrigger(origin=origin.url)
    with outrigger.connect() as client:
        for _ in range(3):
            client.send(f"GET /big HTTP/1.1\r\n{HOST}\r\n")
            assert client.head().get("content-length") == str(size)
            assert receive(client, size) == size
    assert origin.count("/big") == 1


def test_an_early_answer_reaches_the_client_and_its_connection_is_not_used_again(make_outrigger, origin):
    """The origin says no after the head; the client is still sending."""
    origin.read_bodies = False
    origin.on("/up", lambda request: request.answer("too much", "413 Content Too Large"))
    origin.on("/next", lambda request: request.answer("next", fields={"Cache-Control": "no-store"}))
    outrigger = make_outrigger(origin=origin.url, config={"workers": 1})
    with outrigger.connect() as client:
        client.send(f"POST /up HTTP/1.1\r\n{HOST}Content-Length: {LARGE}\r\n\r\n")
        client.send(block(0))
        response = client.response()
        assert (response.status, response.body) == (413, b"too much")
        assert response.get("connection") == "close", "the rest of the body is not awaited"
    assert outrigger.get("/next").body == b"next"
    assert origin.last("/next").connection_number != origin.last("/up").connection_number


def test_an_early_answer_does_not_cut_an_upload_that_goes_on(proxy, back, path):
    """The origin answers at once and reads on (an echo): both directions live until both have ended."""
    def echo(request):
        request.send(b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n")
        while data := request.connection.chunk():
            request.send(b"%x\r\n" % len(data) + data + b"\r\n")
        request.send(b"0\r\n\r\n")

    back.read_bodies = False
    try:
        back.on(path, echo)
        with proxy.connect() as client:
            client.send(f"POST {path} HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n")
            assert client.head().status == 200
            for n in range(3):
                client.send(f"5\r\nping{n}\r\n")
                got = b""
                while len(got) < 5:
                    got += client.chunk()
                assert got == b"ping%d" % n
            client.send("0\r\n\r\n")
            assert client.chunk() == b""
    finally:
        back.read_bodies = True


@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
def test_a_client_that_breaks_off_breaks_off_the_request_to_the_origin(make_outrigger, origin, framing):
    ends = []
    origin.read_bodies = False

    def take(request):
        data = request.connection.read_to_end()
        ends.append(data)
        raise Truncated

    origin.on("/up", take)
    outrigger = make_outrigger(origin=origin.url)
    with outrigger.connect() as client:
        client.send(f"POST /up HTTP/1.1\r\n{HOST}{framing}\r\n\r\n" + ("5\r\nhello\r\n" if "chunked" in framing else "hello"))
        until(lambda: origin.count("/up"), what="the origin to be asked")
    until(lambda: ends, what="the end of the origin's connection")
    assert not ends[0].endswith(b"0\r\n\r\n"), "a chunked body that broke off was ended as if it were whole"
    lines = outrigger.await_access_lines(1)
    assert '"POST /up HTTP/1.1" 499' in lines[0] or '" 400 ' in lines[0], lines[0]


def test_an_upload_that_ends_too_early_is_no_request(make_outrigger, origin):
    """The client ends its side within the body (FIN, not RST)."""
    whole = []
    origin.on("/up", lambda request: (whole.append(request.body), request.answer("whole")))
    outrigger = make_outrigger(origin=origin.url)
    for framing in ("Content-Length: 10\r\n\r\nhello", f"Content-Length: {(1 << 64) - 1}\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "Transfer-Encoding: chunked\r\n\r\n5\r\nhel"):
        with outrigger.connect() as client:
            client.send(f"POST /up HTTP/1.1\r\n{HOST}{framing}").end_sending()
            assert client.read_to_end()[:12] in (b"", b"HTTP/1.1 400")
    assert outrigger.get("/sync").status == 404 and whole == []


def cut_answer(framing):
    def answer(request):
        request.send(f"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"x\"\r\n{framing}")
        raise Truncated
    return answer


@pytest.mark.parametrize("framing", ["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "Transfer-Encoding: chunked\r\n\r\na\r\nhello",
                                     "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"])
def test_a_truncated_response_is_seen_as_truncated_and_not_stored(proxy, back, path, framing):
    back.on(path, cut_answer(framing))
    for n in range(1, 3):
        response = proxy.get(path)
        assert response.status == 502 or not response.complete, response
        assert back.count(path) >= n
    back.on(path, b"hello worl")
    assert proxy.get(path).body == b"hello worl"


def test_a_truncated_response_ends_an_http_1_0_connection_by_a_reset(proxy, back, path):
    """Without length or chunks, a clean end would say that the body was whole."""
    back.on(path, cut_answer("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"))
    with proxy.connect() as client:
        client.send(f"GET {path} HTTP/1.0\r\n{HOST}\r\n")
        response = client.response()
    assert response.status == 502 or not response.complete


def test_an_origin_that_resets_its_connection_is_seen_as_truncation(proxy, back, path):
    def answer(request):
        request.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 1000\r\n\r\nhello")
        request.connection.reset()
        raise Truncated

    back.on(path, answer)
    for _ in range(2):
        response = proxy.get(path)
        assert response.status == 502 or not response.complete
    assert back.count(path) >= 2


def test_a_body_delimited_by_the_end_of_the_connection_is_whole_and_stored(proxy, back, path):
    def answer(request):
        request.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\r\n" + block(3))
        raise Truncated

    back.on(path, answer)
    for _ in range(2):
        response = proxy.get(path)
        assert response.body == block(3) and response.complete
    assert back.count(path) == 1


def test_a_client_that_leaves_a_private_download_stops_it(make_outrigger, origin):
    ended = threading.Event()

    def give(request):
        request.send(b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            for piece in blocks(LARGE):
                request.send(b"%x\r\n" % len(piece) + piece + b"\r\n")
        finally:
            ended.set()

    origin.on("/down", give)
    outrigger = make_outrigger(origin=origin.url)
    with outrigger.connect() as client:
        client.send(f"GET /down HTTP/1.1\r\n{HOST}\r\n")
        client.read_exactly(100000)
    assert ended.wait(20), "the origin's connection was not closed"


def test_readers_that_stand_still_leave_memory_to_the_others(make_outrigger, origin):
    """HARDENING, resources: what each holds of a response that is not stored is less, the more they are. All windows at their full size would be 50 MiB."""
    body = b"b" * (4 << 20)
    origin.on("*", lambda request: request.answer(body, fields={"Cache-Control": "no-store"}))
    outrigger = make_outrigger(origin=origin.url, config={"cache": {"memory": "16MiB"}})
    with contextlib.ExitStack() as stack:
        for number in range(200):
            stack.enter_context(outrigger.connect(receive_buffer=2048)).send(f"GET /{number} HTTP/1.1\r\nHost: site.test\r\n\r\n")
        until(lambda: outrigger.metric("outrigger_cache_fills") == 200, what="all of them to be under way")
        assert outrigger.get("/read").body == body


def test_no_descriptor_is_left_behind(make_outrigger, origin):
    origin.on("/cut", cut_answer("Content-Length: 10\r\n\r\nhello")).on("/page", b"page").on("/post", lambda request: request.answer(request.body))
    outrigger = make_outrigger(origin=origin.url, site={"pool": {"connections": 0}})
    pid = outrigger.await_children("proxy", 1)[0]

    def round_of_requests():
        outrigger.get("/cut"), outrigger.get("/page"), outrigger.get("/post", method="POST", body=b"x" * 100000), outrigger.get("/page", version="1.0")
        with outrigger.connect() as client:
            client.send(f"POST /post HTTP/1.1\r\n{HOST}Content-Length: 100\r\n\r\nhalf")
        with outrigger.connect() as client:
            client.send("nonsense\r\n\r\n").read_to_end()

    def descriptors():
        return len(os.listdir(f"/proc/{pid}/fd"))

    round_of_requests()
    until(lambda: outrigger.metric("outrigger_client_connections_closed_total") >= 6)
    before = descriptors()
    for _ in range(20):
        round_of_requests()
    until(lambda: descriptors() <= before, what="the descriptors to be closed")
