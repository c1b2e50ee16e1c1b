"""HARDENING "Framing, HTTP/1": what is malformed is refused and never forwarded; what an origin malforms never reaches a client or the cache."""
import contextlib
import re
from random import Random

import pytest

from harness.http import Connection, Truncated
from harness.poll import until

HOST = "Host: site.test\r\n"
POST = "POST {path} HTTP/1.1\r\n" + HOST
GET = "GET {path} HTTP/1.1\r\n" + HOST


def answers(data):
    """Status codes of the responses in what a connection received."""
    return [int(part[:3]) for part in data.split(b"HTTP/1.1 ")[1:]]


def assert_refused(proxy, back, raw, statuses):
    """`raw` gets one of `statuses` and the end of its connection; nothing behind it is answered, and the origin hears of none of it."""
    back.on("/after", b"after").on("/sync", lambda request: request.answer("sync", fields={"Cache-Control": "no-store"}))
    before = back.count()
    with proxy.connect() as client:
        client.send(raw + ("GET /after HTTP/1.1\r\n" + HOST + "\r\n" if isinstance(raw, str) else b"GET /after HTTP/1.1\r\nHost: a\r\n\r\n"))
        data = client.read_to_end()
    assert len(answers(data)) == 1 and answers(data)[0] in statuses, data
    head, _, body = data.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    assert body.strip(), "a small readable body"
    assert proxy.get("/sync").body == b"sync"
    assert back.count() == before + 1, back.requests[before:]


MALFORMED = {
    "length with chunked": (POST + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400]),
    "chunked with length": (POST + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", [400]),
    "chunked twice": (POST + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", [400, 501]),
    "chunked on two lines": (POST + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400, 501]),
    "chunked not last": (POST + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", [400, 501]),
    "chunked not alone": (POST + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", [400, 501]),
    "chunked then identity": (POST + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", [400, 501]),
    "identity": (POST + "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n", [400, 501]),
    "an unknown coding": (POST + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", [400, 501]),
    "chunked with a parameter": (POST + "Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n", [400, 501]),
    "chunked in quotes": (POST + 'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n', [400, 501]),
    "chunked behind a vertical tab": (POST + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", [400, 501]),
    "no coding": (POST + "Transfer-Encoding:\r\n\r\n0\r\n\r\n", [400, 501]),
    "chunked in HTTP 1.0": ("POST {path} HTTP/1.0\r\n" + HOST + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400, 501]),
    "chunked GET in HTTP 1.0": ("GET {path} HTTP/1.0\r\n" + HOST + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400, 501]),
    "two lengths": (POST + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", [400]),
    "the same length twice": (POST + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", [400]),
    "a list of lengths": (POST + "Content-Length: 5, 5\r\n\r\nhello", [400]),
    "a length with a plus": (POST + "Content-Length: +5\r\n\r\nhello", [400]),
    "a length with a minus": (POST + "Content-Length: -5\r\n\r\nhello", [400]),
    "a hexadecimal length": (POST + "Content-Length: 0x5\r\n\r\nhello", [400]),
    "a length with a space inside": (POST + "Content-Length: 5 5\r\n\r\nhello", [400]),
    "a length with letters": (POST + "Content-Length: 5a\r\n\r\nhello", [400]),
    "a length with an underscore": (POST + "Content-Length: 1_0\r\n\r\nhellohello", [400]),
    "an empty length": (POST + "Content-Length:\r\n\r\n", [400]),
    "a length over 64 bits": (POST + "Content-Length: 18446744073709551621\r\n\r\nhello", [400, 413]),
    "a length of many digits": (POST + "Content-Length: " + "9" * 40 + "\r\n\r\nhello", [400, 413]),
    "length of a GET twice": (GET + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n", [400]),
    "line feeds only": ("GET {path} HTTP/1.1\nHost: site.test\n\n", [400]),
    "a request line ended by LF": ("GET {path} HTTP/1.1\n" + HOST + "\r\n", [400]),
    "a field line ended by LF": (GET + "X: a\nY: b\r\n\r\n", [400]),
    "the empty line as LF": (GET + "X: a\r\n\n", [400]),
    "a field line ended by CR": (GET + "X: a\rY: b\r\n\r\n", [400]),
    "CR in a value": (GET + "X: a\rb\r\n\r\n", [400]),
    "CR CR LF": (GET + "X: a\r\r\n\r\n", [400]),
    "NUL in a value": (GET + "X: a\0b\r\n\r\n", [400]),
    "NUL in a name": (GET + "X\0: a\r\n\r\n", [400]),
    "NUL in the target": ("GET {path}\0 HTTP/1.1\r\n" + HOST + "\r\n", [400]),
    "a control byte in a value": (GET + "X: a\x01b\r\n\r\n", [400]),
    "DEL in a value": (GET + "X: a\x7fb\r\n\r\n", [400]),
    "white space before the colon": (GET + "X : a\r\n\r\n", [400]),
    "a tab before the colon": (GET + "X\t: a\r\n\r\n", [400]),
    "white space before the colon of a length": (POST + "Content-Length : 5\r\n\r\nhello", [400]),
    "white space before the colon of a coding": (POST + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", [400]),
    "a folded line": (GET + "X: a\r\n b\r\n\r\n", [400]),
    "a line folded with a tab": (GET + "X: a\r\n\tb\r\n\r\n", [400]),
    "a folded coding": (POST + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", [400, 501]),
    "white space before the first field": ("GET {path} HTTP/1.1\r\n X: a\r\n" + HOST + "\r\n", [400]),
    "a line without a colon": (GET + "X\r\n\r\n", [400]),
    "an empty name": (GET + ": a\r\n\r\n", [400]),
    "a space in a name": (GET + "X Y: a\r\n\r\n", [400]),
    "a slash in a name": (GET + "X/Y: a\r\n\r\n", [400]),
    "a byte over 127 in a name": (GET + "X\xe9: a\r\n\r\n", [400]),
    "two spaces before the target": ("GET  {path} HTTP/1.1\r\n" + HOST + "\r\n", [400]),
    "two spaces before the version": ("GET {path}  HTTP/1.1\r\n" + HOST + "\r\n", [400, 505]),
    "a tab in the request line": ("GET\t{path}\tHTTP/1.1\r\n" + HOST + "\r\n", [400]),
    "a space in the target": ("GET {path} x HTTP/1.1\r\n" + HOST + "\r\n", [400, 505]),
    "a space behind the version": ("GET {path} HTTP/1.1 \r\n" + HOST + "\r\n", [400, 505]),
    "a version in lower case": ("GET {path} http/1.1\r\n" + HOST + "\r\n", [400, 505]),
    "another protocol": ("GET {path} ICE/1.0\r\n" + HOST + "\r\n", [400, 505]),
    "HTTP 2.0": ("GET {path} HTTP/2.0\r\n" + HOST + "\r\n", [400, 505]),
    "HTTP 1.2 digits": ("GET {path} HTTP/1.10\r\n" + HOST + "\r\n", [400, 505]),
    "HTTP 0.9 in words": ("GET {path} HTTP/0.9\r\n" + HOST + "\r\n", [400, 505]),
    "no version": ("GET {path}\r\n\r\n", [400, 505]),
    "no target": ("GET HTTP/1.1\r\n" + HOST + "\r\n", [400]),
    "a target without its slash": ("GET x{path} HTTP/1.1\r\n" + HOST + "\r\n", [400]),
    "a fragment": ("GET {path}#x HTTP/1.1\r\n" + HOST + "\r\n", [400]),
    "a target with a byte over 127": ("GET {path}\xff HTTP/1.1\r\n" + HOST + "\r\n", [400]),
    "a method that is no token": ("G(ET {path} HTTP/1.1\r\n" + HOST + "\r\n", [400]),
    "a TLS client hello": ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", [400]),
    "an HTTP 2 preface": ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400, 505]),
    "an asterisk with GET": ("GET * HTTP/1.1\r\n" + HOST + "\r\n", [400]),
    "an expectation we do not know": (POST + "Expect: 200-ok\r\nContent-Length: 5\r\n\r\nhello", [417]),
    "thousands of connection options": (GET + "Connection: " + "a," * 5000 + "a\r\n\r\n", [431]),
    "too many connection options on lines": (GET + "Connection: a, b,\r\n" * 80 + "\r\n", [431]),
    "two expectations": (POST + "Expect: 100-continue, x\r\nContent-Length: 5\r\n\r\nhello", [417]),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_is_refused_and_never_forwarded(proxy, back, path, name):
    raw, statuses = MALFORMED[name]
    assert_refused(proxy, back, raw.replace("{path}", path), statuses)


def test_a_bad_request_behind_a_good_one_leaves_the_good_answer(proxy, back, path):
    back.on(path, b"good")
    with proxy.connect() as client:
        client.send(f"GET {path} HTTP/1.1\r\n{HOST}\r\nGET {path} HTTP/1.1\r\n{HOST}X : a\r\n\r\nGET {path} HTTP/1.1\r\n{HOST}\r\n")
        first = client.response()
        second = client.response()
        assert (first.status, first.body) == (200, b"good")
        assert (second.status, second.get("connection")) == (400, "close")
        assert client.read_to_end() == b""


def test_an_empty_line_before_the_request_line_is_skipped(proxy, back, path):
    """RFC 9112 §2.2: robustness, for one at least."""
    back.on(path, b"good")
    with proxy.connect() as client:
        assert client.send(f"\r\nGET {path} HTTP/1.1\r\n{HOST}\r\n").response().body == b"good"


@pytest.mark.parametrize("field", ["Transfer_Encoding: chunked", "Content_Length: 3", "transfer_encoding: chunked"])
def test_look_alikes_of_framing_fields_do_not_reach_the_origin(proxy, back, path, field):
    back.on(path, lambda request: request.answer("fine"))
    with proxy.connect() as client:
        client.send(f"POST {path} HTTP/1.1\r\n{HOST}{field}\r\nContent-Length: 5\r\n\r\nhello")
        response = client.response()
    if response.status == 400:
        assert back.count(path) == 0
    else:
        seen = back.last(path)
        assert seen.body == b"hello" and not seen.names() & {"transfer_encoding", "content_length"}


BAD_CHUNKS = {
    "a size that is no number": "xyz\r\nhello\r\n0\r\n\r\n",
    "an empty size": "\r\nhello\r\n0\r\n\r\n",
    "a size with 0x": "0x5\r\nhello\r\n0\r\n\r\n",
    "a negative size": "-5\r\nhello\r\n0\r\n\r\n",
    "a size with a plus": "+5\r\nhello\r\n0\r\n\r\n",
    "a size over 64 bits": "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "a size of many digits": "f" * 40 + "\r\nhello\r\n0\r\n\r\n",
    "a space before the size": " 5\r\nhello\r\n0\r\n\r\n",
    "a size ended by LF": "5\nhello\r\n0\r\n\r\n",
    "a size ended by CR": "5\rhello\r\n0\r\n\r\n",
    "no CRLF behind the data": "5\r\nhello0\r\n\r\n",
    "LF behind the data": "5\r\nhello\n0\r\n\r\n",
    "more data than announced": "5\r\nhellohello\r\n0\r\n\r\n",
    "LF inside an extension": "5;a=b\nc\r\nhello\r\n0\r\n\r\n",
    "CR inside an extension": "5;a=b\rc\r\nhello\r\n0\r\n\r\n",
    "NUL inside an extension": "5;a=\0\r\nhello\r\n0\r\n\r\n",
    "an extension over 4 KiB": "5;a=" + "b" * 5000 + "\r\nhello\r\n0\r\n\r\n",
    "extensions over 4 KiB together": "".join(f"1;a={'b' * 900}\r\nx\r\n" for _ in range(6)) + "0\r\n\r\n",
    "a bad second chunk": "5\r\nhello\r\nxyz\r\nhello\r\n0\r\n\r\n",
    "a last chunk ended by LF": "5\r\nhello\r\n0\n\r\n",
    "a trailer without a colon": "5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
    "a trailer with a space before the colon": "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
    "a trailer section ended by LF": "5\r\nhello\r\n0\r\nX: y\r\n\n",
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_a_malformed_chunk_ends_the_request(proxy, back, path, name):
    """The head may have gone out already; a whole request never, and what follows is not answered."""
    whole = []
    back.on(path, lambda request: (whole.append(request.body), request.answer("complete"))).on("/after", b"after")
    after = back.count("/after")
    with proxy.connect() as client:
        client.send(f"POST {path} HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n{BAD_CHUNKS[name]}GET /after HTTP/1.1\r\n{HOST}\r\n")
        data = client.read_to_end()
    assert answers(data) == [400], data
    assert b"connection: close" in data.lower()
    assert proxy.get(path + "/sync").status == 404 and whole == [] and back.count("/after") == after


def raw_body_of(request):
    """Everything of a chunked body as it was on the wire."""
    data = b""
    while not data.endswith(b"0\r\n\r\n"):
        data += request.connection.read_until(b"\r\n") + b"\r\n"
    return data


def test_extensions_and_trailers_of_a_request_are_not_forwarded(make_outrigger, origin):
    bodies = []
    origin.read_bodies = False
    origin.on("/upload", lambda request: (bodies.append(raw_body_of(request)), request.answer("fine")))
    outrigger = make_outrigger(origin=origin.url)
    with outrigger.connect() as client:
        client.send(f"POST /upload HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\nTrailer: X-Secret\r\n\r\n")
        client.send("5;secret=1\r\nhello\r\n3 ; secret\r\n".replace("3 ; secret", "3;secret") + "abc\r\n0;secret\r\nX-Secret: 1\r\nContent-Length: 0\r\n\r\n")
        assert client.response().status == 200
        seen = origin.last("/upload")
        assert b"ecret" not in bodies[0] and bodies[0].endswith(b"0\r\n\r\n")
        assert seen.get("trailer") is None and seen.get("transfer-encoding") == "chunked"
        assert client.request("/upload", method="POST", fields={"Transfer-Encoding": "chunked"}, body=b"0\r\n\r\n").status == 200


def test_extensions_and_trailers_of_a_response_are_not_forwarded(proxy, back, path):
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\nTrailer: X-Secret\r\n\r\n"
    back.on(path, lambda request: request.send(head + b"5;secret=1\r\nhello\r\n0\r\nX-Secret: 1\r\nSet-Cookie: secret\r\n\r\n"))
    for _ in range(2):
        with proxy.connect() as client:
            client.send(f"GET {path} HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n")
            data = client.read_to_end()
        assert data.startswith(b"HTTP/1.1 200") and b"hello" in data and b"ecret" not in data
    assert back.count(path) == 1


def test_100_continue_is_answered_here_and_not_forwarded(proxy, back, path):
    back.on(path, lambda request: request.answer("fine"))
    with proxy.connect() as client:
        client.send(f"POST {path} HTTP/1.1\r\n{HOST}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert client.head().status == 100
        assert client.send("hello").response().body == b"fine"
    assert back.last(path).get("expect") is None and back.last(path).body == b"hello"


SMUGGLED = "GET /smuggled HTTP/1.1\r\n" + HOST + "\r\n"


@pytest.mark.parametrize("framing", [f"Content-Length: {len(SMUGGLED)}\r\n\r\n{SMUGGLED}", f"Transfer-Encoding: chunked\r\n\r\n{len(SMUGGLED):x}\r\n{SMUGGLED}\r\n0\r\n\r\n"])
@pytest.mark.parametrize("stored", [True, False])
def test_the_body_of_a_get_is_dropped_and_never_read_as_a_request(proxy, back, path, framing, stored):
    back.on(path, b"page")
    if stored:
        proxy.get(path)
    with proxy.connect() as client:
        data = client.send(f"GET {path} HTTP/1.1\r\n{HOST}{framing}").read_to_end()
    assert answers(data) == [200] and data.endswith(b"page") and b"connection: close" in data.lower()
    seen = back.last(path)
    assert seen.body == b"" and seen.get("content-length") is None and seen.get("transfer-encoding") is None
    assert back.count("/smuggled") == 0


@pytest.mark.parametrize("method, target, status", [("POST", "http://nowhere.test/", 404), ("PURGE", "/x", 403), ("CONNECT", "x:1", 405)])
def test_the_unread_body_of_a_refused_request_is_never_read_as_a_request(make_outrigger, origin, method, target, status):
    origin.on("*", b"page")
    outrigger = make_outrigger(origin=origin.url, site={"hosts": ["site.test"], "purge": {"allow": []}})
    with outrigger.connect() as client:
        client.send(f"{method} {target} HTTP/1.1\r\n{HOST}Content-Length: {len(SMUGGLED)}\r\n\r\n{SMUGGLED}")
        assert client.response().status == status
        # The connection is either closed, or the body was drained and the next request has the next answer.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.send("GET /next HTTP/1.1\r\n" + HOST + "Connection: close\r\n\r\n")
        rest = client.read_to_end()
    assert answers(rest) in ([], [200]) and origin.count("/next") == len(answers(rest))
    assert origin.count("/smuggled") == 0


# What an origin does

def twice(proxy, path):
    """Two answers to the same GET, each on a connection of its own."""
    return [proxy.get(path) for _ in range(2)]


BAD_RESPONSES = {
    "garbage": b"this is not HTTP\r\n\r\n",
    "another protocol": b"ICY 200 OK\r\nContent-Length: 2\r\n\r\nno",
    "HTTP 2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nno",
    "a status of letters": b"HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\nno",
    "a status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nno",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nno",
    "a status below 100": b"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nno",
    "two lengths": b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nno!",
    "a list of different lengths": b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2, 3\r\n\r\nno!",
    "a length that is no number": b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: two\r\n\r\nno",
    "a negative length": b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: -2\r\n\r\nno",
    "a length over 64 bits": b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 18446744073709551618\r\n\r\nno",
    "the largest length of 64 bits": b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 18446744073709551615\r\n\r\n" + b"no" * 4096,
    "a length over 63 bits": b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 9223372036854775808\r\n\r\nno",
    "length and chunked": b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
    "an unknown coding": b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
    "chunked twice": b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked, chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
    "NUL in a value": b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nno",
    "CR in a value": b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nX: a\rSet-Cookie: x\r\nContent-Length: 2\r\n\r\nno",
    "LF in a value": b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nX: a\nSet-Cookie: x\r\nContent-Length: 2\r\n\r\nno",
    "a folded value": b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nno",
    "white space before a colon": b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nX : a\r\nContent-Length: 2\r\n\r\nno",
    "a control byte in the reason": b"HTTP/1.1 200 O\x01K\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nno",
    "a head that breaks off": b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Le",
    "nothing": b"",
    "101 that nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nno",
    "a flood of interim responses": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 1000 + b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nno",
    "a head without end": b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n" + b"X: " + b"y" * 2000000 + b"\r\nContent-Length: 2\r\n\r\nno",
    "fields without end": b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n" + b"X: y\r\n" * 20000 + b"Content-Length: 2\r\n\r\nno",
}


@pytest.mark.parametrize("name", BAD_RESPONSES)
def test_a_malformed_response_becomes_502_and_is_never_stored(proxy, back, path, name):
    def answer(request):
        request.send(BAD_RESPONSES[name])
        request.connection.end_sending()
        request.connection.read_to_end()
        raise Truncated

    back.on(path, answer)
    processes = proxy.children("proxy")
    for response in twice(proxy, path):
        assert response.status == 502 and response.body, response
        assert response.get("set-cookie") is None
        assert b"no" != response.body
    assert back.count(path) >= 2
    back.on(path, b"well")
    assert proxy.get(path).body == b"well" and proxy.children("proxy") == processes


def test_bytes_behind_a_response_are_not_the_next_response(proxy, back, path):
    """Two responses in one go: the second is nobody's, and the connection is not used again."""
    evil = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\nevil"
    back.on(path, lambda request: request.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\ngood" + evil))
    back.on(path + "/next", lambda request: request.answer("next", fields={"Cache-Control": "no-store"}))
    first = proxy.get(path)
    assert (first.status, first.body) == (200, b"good")
    for _ in range(8):
        assert proxy.get(path + "/next").body == b"next"
    used = back.last(path).connection_number
    assert used not in [r.connection_number for r in back.requests if r.target == path + "/next"]


def test_bytes_on_an_idle_connection_end_it(make_outrigger, origin):
    """An unsolicited response (RFC 9112 §9.2), sent when the connection is kept: the next request does not get it."""
    outrigger = make_outrigger(origin=origin.url, config={"workers": 1})
    connections = []
    origin.on("/first", lambda request: (connections.append(request.connection), request.answer("first", fields={"Cache-Control": "no-store"})))
    origin.on("/next", lambda request: request.answer("next", fields={"Cache-Control": "no-store"}))
    assert outrigger.get("/first").body == b"first"
    until(lambda: outrigger.metric("outrigger_origin_connections_closed_total") == 0)
    connections[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    until(lambda: outrigger.metric("outrigger_origin_connections_closed_total") == 1, what="the connection's end")
    assert outrigger.get("/next").body == b"next"
    assert origin.last("/next").connection_number != origin.last("/first").connection_number


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil",
    b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
])
def test_a_body_where_none_may_be_is_not_sent_on(proxy, back, path, answer):
    back.on(path, lambda request: request.send(answer)).on(path + "/next", b"next")
    with proxy.connect() as client:
        response = client.request(path, fields={"If-None-Match": '"x"'})
        assert response.status in (204, 304, 502)
        if response.get("connection") != "close":
            assert client.request(path + "/next").body == b"next"
    assert proxy.get(path + "/next").body == b"next"


@pytest.mark.parametrize("length", ["", "Content-Length: 0\r\n", "Content-Length: 5\r\n"])
def test_a_204_has_no_content_length_stored_or_not(proxy, back, path, length):
    """RFC 9110 §8.6. One of the origin's and one of ours would be two."""
    back.on(path, lambda request: request.send(f"HTTP/1.1 204 No Content\r\nCache-Control: max-age=60\r\n{length}\r\n"))
    for method, hit in (("GET", False), ("GET", True), ("HEAD", True)):
        with proxy.connect() as client:
            response = client.request(path, method=method)
            assert (response.status, response.get("content-length"), "hit" in response.get("cache-status")) == (204, None, hit)
            assert client.request(path).status == 204


@pytest.mark.parametrize("chunks", [b"4\r\ngood\r\nxyz\r\n", b"4\r\ngood\r\n10000000000000000\r\n", b"4\r\ngoodXX0\r\n\r\n", b"4;a=" + b"b" * 100000 + b"\r\ngood\r\n0\r\n\r\n", b"4;a\nb\r\ngood\r\n0\r\n\r\n"])
def test_a_malformed_chunk_of_a_response_is_seen_as_truncation_and_not_stored(proxy, back, path, chunks):
    back.on(path, lambda request: request.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks))
    for response in twice(proxy, path):
        assert response.status == 502 or not response.complete
    assert back.count(path) == 2


def test_a_pipelined_request_after_a_bad_body_is_not_answered(proxy, back, path):
    back.on(path, lambda request: request.answer("fine"))
    with Connection(proxy.port) as client:
        client.send(f"POST {path} HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n0\r\nbad\r\n\r\n" + SMUGGLED)
        assert answers(client.read_to_end()) in ([], [400])
    assert back.count("/smuggled") == 0


WELL_FORMED = [
    "GET /fuzz/a?b=c HTTP/1.1\r\nHost: site.test\r\nAccept: */*\r\nRange: bytes=0-3,5-\r\nIf-None-Match: \"x\", W/\"y\"\r\n\r\n",
    "POST /fuzz/chunked HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n5;e=f\r\nhello\r\n0a\r\n0123456789\r\n0\r\nT: u\r\n\r\n",
    "PUT /fuzz/length HTTP/1.1\r\nHost: site.test\r\nContent-Length: 12\r\nConnection: keep-alive, X-Y\r\nX-Y: z\r\n\r\ntwelve bytes",
    "GET http://site.test:80/fuzz/absolute HTTP/1.1\r\nHost: other.test\r\nExpect: 100-continue\r\nCookie: a=b; c=d\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: site.test\r\nVia: 1.1 x\r\nCache-Control: max-age=0, no-cache=\"a\"\r\n\r\n",
    "GET /fuzz/old HTTP/1.0\r\nConnection: keep-alive\r\nIf-Modified-Since: Tue, 01 Jul 2025 10:00:00 GMT\r\n\r\n",
]
SPECIAL = ["\r\n", "\n", "\r", "\0", " ", "\t", ":", ",", ";", "0", "f" * 20, "\xff", "/", "%", "\x7f", "HTTP/1.1", "chunked", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n",
           "Host: b\r\n", "9" * 25, "A" * 5000, '"', "-"]


def mutated(random, text):
    for _ in range(random.choice([1, 1, 2, 5])):
        at = random.randrange(len(text) + 1)
        end = min(len(text), at + random.choice([0, 1, 2, 8, 30]))
        text = random.choice([
            lambda: text[:at] + random.choice(SPECIAL) + text[at:],
            lambda: text[:at] + random.choice(SPECIAL) + text[end:],
            lambda: text[:at] + text[end:],
            lambda: text[:at] + text[at:end] * 3 + text[end:],
            lambda: text[:at] + chr(random.randrange(256)) + text[at + 1 :],
        ])()
    return text


def test_whatever_clients_send_the_origin_gets_well_formed_requests(proxy, back):
    """A thousand seeded mutations, one connection each; the origin's parser fails on what is not HTTP, and so would this test."""
    back.on("*", lambda request: request.answer("fuzz", fields={"Cache-Control": "no-store"}))
    random, before, answered = Random(1), back.count(), 0
    try:
        for n in range(1000):
            raw = mutated(random, WELL_FORMED[n % len(WELL_FORMED)])
            with proxy.connect() as client:
                with contextlib.suppress(OSError):
                    client.send(raw).end_sending()
                answered += len(answers(client.read_to_end())) > 0
        assert proxy.get("/fuzz/sync").body == b"fuzz"
    finally:
        del back.handlers["*"]
    assert answered > 500 and back.count() > before + 100
    for request in back.requests[before:]:
        assert re.fullmatch(r"[!-~]+", request.target) and request.version == "HTTP/1.1"
        names = [name.lower() for name, _ in request.fields]
        assert names.count("host") == 1 and names.count("content-length") + names.count("transfer-encoding") <= 1
        assert all(re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", name) for name in names)
        assert not any(re.search(r"[\r\n\0]", value) for _, value in request.fields)
