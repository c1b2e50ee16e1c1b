"""Range requests: parts of what is stored or still arriving, alone and several at once; what a range does not apply to."""
import threading

import pytest

from harness.http import Connection
from harness.outrigger import SLOW

BODY = b"".join(b"%07d\n" % n for n in range(1000))  # 8000 bytes, each place of its own
LARGE = b"".join(b"%015d\n" % n for n in range(200000))  # 3.2 million bytes
FRESH = {"Cache-Control": "max-age=60"}
ETAG = '"v1"'
MODIFIED = "Tue, 01 Jul 2025 10:00:00 GMT"
LATER, MUCH_LATER = "Tue, 01 Jul 2025 10:00:01 GMT", "Tue, 01 Jul 2025 11:00:00 GMT"
LONG = {"Cache-Control": "max-age=999999999"}
TYPE = {"Content-Type": "text/x-numbers; charset=ascii"}


def stored(proxy, back, path, body=BODY, status="200 OK", fields=None):
    """Has the response stored under `path`."""
    back.on(path, lambda request: request.answer(body, status, {**FRESH, **TYPE, **(fields or {})}))
    assert "stored" in proxy.get(path).get("cache-status")


def ranged(proxy, path, value, method="GET", **fields):
    return proxy.get(path, method=method, fields={"Range": value, **{n.replace("_", "-"): v for n, v in fields.items()}})


def parts_of(response):
    """[(fields, content)] of a multipart/byteranges, read strictly (RFC 2046 §5.1.1)."""
    kind, _, boundary = response.get("content-type").partition("; boundary=")
    assert kind == "multipart/byteranges" and 1 <= len(boundary) <= 70 and boundary.isalnum()
    assert response.complete and response.get("content-range") is None
    mark = b"--" + boundary.encode()
    assert response.body.startswith(mark + b"\r\n") and response.body.endswith(b"\r\n" + mark + b"--\r\n")
    inside = response.body[len(mark) + 2 : -len(mark) - 6]
    parts = []
    for part in inside.split(b"\r\n" + mark + b"\r\n"):
        head, _, content = part.partition(b"\r\n\r\n")
        parts.append((dict(line.split(": ", 1) for line in head.decode().split("\r\n")), content))
    return parts


def check_parts(response, body, spans, content_type=TYPE["Content-Type"]):
    assert response.status == 206
    parts = parts_of(response)
    expected = {"Content-Type": content_type} if content_type else {}
    assert [fields for fields, _ in parts] == [{**expected, "Content-Range": f"bytes {first}-{last}/{len(body)}"} for first, last in spans]
    for (first, last), (_, content) in zip(spans, parts):
        assert content == body[first : last + 1], (first, last)


# ---- one range of what is stored ----

SINGLE = {
    "bytes=0-0": (0, 0),
    "bytes=5-9": (5, 9),
    "bytes=7999-": (7999, 7999),
    "bytes=7990-9000": (7990, 7999),
    "bytes=-1": (7999, 7999),
    "bytes=-10000": (0, 7999),
    "bytes=0-": (0, 7999),
    "BYTES=0-4": (0, 4),
    "bytes= ,1-2 ,": (1, 2),
    "bytes=0-9,5-20": (0, 20),
    "bytes=10-19,0-9": (0, 19),
    "bytes=0-9,90-99": (0, 99),
    "bytes=0-9,9000-": (0, 9),
    "bytes=0-18446744073709551615": (0, 7999),
}


@pytest.mark.parametrize("value", SINGLE)
def test_one_range(proxy, back, path, value):
    stored(proxy, back, path)
    first, last = SINGLE[value]
    answer = ranged(proxy, path, value)
    assert (answer.status, answer.reason) == (206, "Partial Content") and answer.body == BODY[first : last + 1]
    assert answer.all("content-range") == [f"bytes {first}-{last}/8000"] and answer.get("content-length") == str(last + 1 - first)
    assert answer.get("content-type") == TYPE["Content-Type"] and answer.get("cache-status").startswith("outrigger; hit")
    assert back.count(path) == 1


@pytest.mark.parametrize("value", ["bytes=5-9", "bytes=5-9,1000-1005"])
def test_a_digest_of_the_whole_content_is_none_of_a_part(proxy, back, path, value):
    stored(proxy, back, path, fields={"Content-Digest": "sha-256=:whole=:", "Content-MD5": "whole==", "Repr-Digest": "sha-256=:all=:"})
    answer = ranged(proxy, path, value)
    assert (answer.status, answer.get("content-digest"), answer.get("content-md5"), answer.get("repr-digest")) == (206, None, None, "sha-256=:all=:")
    answer = proxy.get(path)
    assert (answer.status, answer.get("content-digest"), answer.get("content-md5")) == (200, "sha-256=:whole=:", "whole==")


UNSATISFIABLE = ["bytes=8000-", "bytes=8000-8001", "bytes=-0", "bytes=9000-,-0", "bytes=99999999999999999999-"]


@pytest.mark.parametrize("value", UNSATISFIABLE)
def test_unsatisfiable(proxy, back, path, value):
    stored(proxy, back, path, fields={"ETag": ETAG})
    with proxy.connect() as client:
        answer = client.request(path, fields={"Range": value})
        assert (answer.status, answer.get("content-range"), answer.get("content-length"), answer.body) == (416, "bytes */8000", "0", b"")
        assert answer.get("content-type") is None and answer.get("etag") == ETAG
        assert client.request(path).body == BODY


IGNORED = ["bytes=", "bytes=,", "bytes=-", "bytes=5", "bytes=9-5", "bytes=0-5,9-5", "bytes=a-b", "bytes 0-5", "lines=0-5", "0-5", "bytes=0-5x", "=0-5"]


@pytest.mark.parametrize("value", IGNORED)
def test_a_malformed_or_unknown_range_is_ignored(proxy, back, path, value):
    stored(proxy, back, path)
    answer = ranged(proxy, path, value)
    assert (answer.status, answer.body, answer.get("content-range")) == (200, BODY, None)


def test_several_lines_of_range_are_ignored(proxy, back, path):
    stored(proxy, back, path)
    answer = proxy.get(path, fields=[("Range", "bytes=0-5"), ("Range", "bytes=10-15")])
    assert (answer.status, answer.body) == (200, BODY)


@pytest.mark.parametrize("value", ["bytes=0-5", "bytes=0-5,1000-1005", "bytes=9000-"])
def test_a_range_means_nothing_to_head(proxy, back, path, value):
    stored(proxy, back, path)
    answer = ranged(proxy, path, value, "HEAD")
    assert (answer.status, answer.get("content-length"), answer.get("content-range")) == (200, "8000", None)


@pytest.mark.parametrize("status", ["404 Not Found", "203 Non-Authoritative Information", "301 Moved Permanently", "500 Internal Server Error"])
@pytest.mark.parametrize("value", ["bytes=0-5", "bytes=0-5,1000-1005", "bytes=9000-"])
def test_a_range_applies_to_200_only(proxy, back, path, status, value):
    stored(proxy, back, path, status=status)
    answer = ranged(proxy, path, value)
    assert (answer.status, answer.body, answer.get("content-range")) == (int(status[:3]), BODY, None)
    assert back.count(path) == 1


def test_a_range_of_nothing(proxy, back, path):
    stored(proxy, back, path, b"")
    assert ranged(proxy, path, "bytes=0-").status == 416
    assert ranged(proxy, path, "bytes=-5").status == 200


# ---- If-Range and the other conditions ----

IF_RANGE = {
    "the entity tag": ({"ETag": ETAG}, ETAG, 206),
    "another entity tag": ({"ETag": ETAG}, '"v2"', 200),
    "the same, weak": ({"ETag": ETAG}, "W/" + ETAG, 200),
    "weak on both sides": ({"ETag": "W/" + ETAG}, "W/" + ETAG, 200),
    "an entity tag, where there is none": ({}, ETAG, 200),
    "no entity tag at all": ({"ETag": ETAG}, "v1", 200),
    "a list": ({"ETag": ETAG}, f'{ETAG}, "v2"', 200),
    "the date": ({"Last-Modified": MODIFIED, "Date": LATER, **LONG}, MODIFIED, 206),
    "an earlier date": ({"Last-Modified": LATER, "Date": MUCH_LATER, **LONG}, MODIFIED, 200),
    "a later date": ({"Last-Modified": MODIFIED, "Date": MUCH_LATER, **LONG}, LATER, 200),
    "a date in the second of the change": ({"Last-Modified": MODIFIED, "Date": MODIFIED, **LONG}, MODIFIED, 200),
    "a date by a clock that is not known": ({"Last-Modified": MODIFIED}, MODIFIED, 200),  # RFC 9110 §8.8.2.2
    "a date, where there is none": ({"ETag": ETAG}, MODIFIED, 200),
    "a broken date": ({"Last-Modified": MODIFIED}, "Tue, 01 Jul 2025", 200),
}


@pytest.mark.parametrize("value", ["bytes=5-9", "bytes=5-9,1000-1005", "bytes=9000-"])
@pytest.mark.parametrize("name", IF_RANGE)
def test_if_range(proxy, back, path, name, value):
    fields, condition, status = IF_RANGE[name]
    stored(proxy, back, path, fields=fields)
    answer = ranged(proxy, path, value, If_Range=condition)
    if status == 206 and value == "bytes=9000-":
        assert answer.status == 416
    elif status == 206 and "," in value:
        check_parts(answer, BODY, [(5, 9), (1000, 1005)])
    else:
        assert (answer.status, answer.body) == ((206, BODY[5:10]) if status == 206 else (200, BODY))


def test_if_range_without_range_is_ignored(proxy, back, path):
    stored(proxy, back, path, fields={"ETag": ETAG})
    assert proxy.get(path, fields={"If-Range": ETAG}).status == 200


def test_other_conditions_come_first(proxy, back, path):
    stored(proxy, back, path, fields={"ETag": ETAG, "Last-Modified": MODIFIED})
    for value in ("bytes=0-5", "bytes=9000-", "bytes=0-5,1000-1005"):
        assert ranged(proxy, path, value, If_None_Match=ETAG).status == 304
        assert ranged(proxy, path, value, If_Modified_Since=MODIFIED).status == 304
        assert ranged(proxy, path, value, If_Match='"v2"').status == 412
        assert ranged(proxy, path, value, If_None_Match='"v2"', If_Match=ETAG).status == (416 if "9000" in value else 206)


# ---- several ranges ----

SEVERAL = {
    "two": ("bytes=0-9,200-209", [(0, 9), (200, 209)]),
    "in the order asked for": ("bytes=7000-7009,0-9,-10", [(7000, 7009), (0, 9), (7990, 7999)]),
    "coalesced in part": ("bytes=500-509,0-9,505-600", [(500, 600), (0, 9)]),
    "unsatisfiable ones left out": ("bytes=8000-,0-9,-0,500-509", [(0, 9), (500, 509)]),
    "sixteen": ("bytes=" + ",".join(f"{n}00-{n}00" for n in range(1, 17)), [(n * 100, n * 100) for n in range(1, 17)]),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_several_ranges(proxy, back, path, name):
    value, spans = SEVERAL[name]
    stored(proxy, back, path, fields={"ETag": ETAG})
    with proxy.connect() as client:
        answer = client.request(path, fields={"Range": value})
        check_parts(answer, BODY, spans)
        assert answer.get("content-length") == str(len(answer.body)) and answer.get("transfer-encoding") is None
        assert answer.get("etag") == ETAG and len(answer.all("content-type")) == 1
        assert client.request(path).body == BODY
    assert back.count(path) == 1


def test_several_ranges_of_a_response_without_content_type(proxy, back, path):
    back.on(path, lambda request: request.answer(BODY, fields=FRESH))
    proxy.get(path)
    check_parts(ranged(proxy, path, "bytes=0-9,200-209"), BODY, [(0, 9), (200, 209)], content_type=None)


def test_too_many_ranges_get_the_whole(proxy, back, path):
    stored(proxy, back, path)
    answer = ranged(proxy, path, "bytes=" + ",".join(f"{n}00-{n}00" for n in range(1, 18)))
    assert (answer.status, answer.body) == (200, BODY)
    answer = ranged(proxy, path, "bytes=" + ",".join(["0-"] * 1000))
    assert (answer.status, answer.body) == (200, BODY)


def test_each_answer_has_a_boundary_of_its_own(proxy, back, path):
    stored(proxy, back, path)
    assert len({ranged(proxy, path, "bytes=0-9,200-209").get("content-type") for _ in range(20)}) == 20


def test_several_ranges_to_an_http_1_0_client(proxy, back, path):
    stored(proxy, back, path)
    check_parts(proxy.get(path, version="1.0", fields={"Range": "bytes=0-9,200-209"}), BODY, [(0, 9), (200, 209)])


def test_several_ranges_in_a_pipeline(proxy, back, path):
    stored(proxy, back, path)
    spans = [(n * 200, n * 200 + 9) for n in range(16)]
    head = f"GET {path} HTTP/1.1\r\nHost: site.test\r\nRange: bytes={','.join(f'{a}-{b}' for a, b in spans)}\r\n\r\n"
    with proxy.connect() as client:
        client.send(head * 50)
        for _ in range(50):
            check_parts(client.response(), BODY, spans)


def test_large_parts_to_a_slow_reader(proxy, back, path):
    stored(proxy, back, path, LARGE)
    spans = [(2000000, 3199999), (1, 1500000)]
    with proxy.connect(receive_buffer=4096) as client:
        answer = client.request(path, fields={"Range": "bytes=2000000-,1-1500000"})
        check_parts(answer, LARGE, spans)


# ---- of what is still arriving ----

def arriving(back, path, first, fields):
    """The first bytes of LARGE arrive, and the rest when the event is set."""
    go = threading.Event()

    def answer(request):
        lines = "".join(f"{n}: {v}\r\n" for n, v in {**TYPE, **fields}.items())
        request.send(f"HTTP/1.1 200 OK\r\n{lines}Content-Length: {len(LARGE)}\r\n\r\n".encode() + LARGE[:first])
        assert go.wait(20 * SLOW)
        request.send(LARGE[first:])

    back.on(path, answer)
    return go


@pytest.mark.parametrize("fields", [FRESH, {"Cache-Control": "no-store"}], ids=["stored", "passed"])
def test_one_range_of_what_arrives(proxy, back, path, fields):
    go = arriving(back, path, 100000, fields)
    with proxy.connect() as early, proxy.connect() as late:
        assert early.request(path, fields={"Range": "bytes=99000-99999"}).body == LARGE[99000:100000]
        # What was passed is remembered as that, and the origin of this test knows no ranges.
        target = path if fields is FRESH else path + "?late"
        late.send(f"GET {target} HTTP/1.1\r\nHost: site.test\r\nRange: bytes=3000000-\r\n\r\n")
        go.set()
        answer = late.response()
        assert (answer.status, answer.body) == (206, LARGE[3000000:])


@pytest.mark.parametrize("fields", [FRESH, {"Cache-Control": "no-store"}], ids=["stored", "passed"])
def test_several_ranges_of_what_arrives_come_in_the_order_of_arrival(proxy, back, path, fields):
    go = arriving(back, path, 100000, fields)
    with proxy.connect() as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: site.test\r\nRange: bytes=-10,2000000-2700000,10-99999\r\n\r\n")
        head = client.read_until(LARGE[99000:100000])  # before the rest has arrived
        assert b"bytes 10-99999/3200000" in head
        client.buffer = head + LARGE[99000:100000] + client.buffer
        go.set()
        check_parts(client.response(), LARGE, [(10, 99999), (2000000, 2700000), (3199990, 3199999)])


def test_a_range_of_unknown_length_gets_the_whole_until_it_is_known(proxy, back, path):
    def answer(request):
        request.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n")
        request.send(b"%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n")

    back.on(path, answer)
    first = ranged(proxy, path, "bytes=0-9")
    assert first.body in (BODY, BODY[:10])
    second = ranged(proxy, path, "bytes=0-9,1000-1009")
    check_parts(second, BODY, [(0, 9), (1000, 1009)], content_type=None)


def test_several_ranges_of_what_breaks_off(proxy, back, path):
    def answer(request):
        request.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 3200000\r\n\r\n" + LARGE[:1000000])
        request.connection.close()

    back.on(path, answer)
    answer = ranged(proxy, path, "bytes=0-9,3000000-3000009")
    assert answer.status == 206 and not answer.complete and LARGE[:10] in answer.body
