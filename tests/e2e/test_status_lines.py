"""Status lines of stored responses: the usual one is not stored, any other is, and all are sent as the origin sent them, but for the version."""
import pytest

from harness.http import Connection
from harness.origin import CloseConnection
from harness.status import status_of
from harness.store import await_written, restart, with_store
from test_slices import FRESH, LARGE, SIZE, Ranger
from test_upgrade import make  # noqa: F401 (a fixture)
from test_upgrade_memory import is_hit, take_over

USUAL = ["200 OK", "203 Non-Authoritative Information", "301 Moved Permanently", "404 Not Found", "410 Gone", "451 Unavailable For Legal Reasons", "501 Not Implemented"]
UNUSUAL = ["200 Fine", "200 ok", "200 OK ", "200 ", "299 ", "299 Odd", "404 OK", "404 Nothing: here", "999 Blocked", "302 Moved Temporarily", "200 " + "Very " * 200 + "fine"]


def said(line):
    """What a client of this harness sees of it: surrounding space is no part of a phrase (RFC 9112 §4, §2.1)."""
    return line.split(" ", 1)[1].strip()


def answers(line, fields=FRESH, body="text"):
    return lambda request: request.answer(body, line, fields)


def reason(response):
    return response.reason.strip()


@pytest.mark.parametrize("line", USUAL + UNUSUAL)
def test_a_hit_has_the_line_of_the_miss(proxy, back, path, line):
    back.on(path, answers(line))
    for _ in range(3):
        response = proxy.get(path)
        assert (response.status, reason(response), response.body) == (int(line[:3]), said(line), b"text")
    assert back.count(path) == 1


def test_the_line_as_bytes(proxy, back, path):
    back.on(path, answers("200 OK"))
    proxy.get(path)
    with Connection(proxy.port) as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: site.test\r\n\r\n" * 3)
        for _ in range(3):
            assert client.read_until(b"\r\n") == b"HTTP/1.1 200 OK"
            assert client.read_until(b"\r\n\r\n").count(b"HTTP/1") == 0
            client.read_exactly(4)


@pytest.mark.parametrize("line, expected", [("200 OK", "200 OK"), ("200 Fine", "200 Fine")])
def test_of_an_origin_that_speaks_an_older_version(proxy, back, path, line, expected):
    def answer(request):
        request.send(f"HTTP/1.0 {line}\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok")
        raise CloseConnection

    back.on(path, answer)
    for _ in range(2):
        with Connection(proxy.port) as client:
            client.send(f"GET {path} HTTP/1.1\r\nHost: site.test\r\n\r\n")
            assert client.read_until(b"\r\n").decode() == f"HTTP/1.1 {expected}"
    assert back.count(path) == 1


@pytest.mark.parametrize("line", ["200 OK", "200 Fine"])
def test_other_answers_made_of_it_have_their_own(proxy, back, path, line):
    back.on(path, answers(line, {**FRESH, "Last-Modified": "Tue, 01 Jul 2025 10:00:00 GMT"}, body="0123456789"))
    proxy.get(path)

    def line_for(**fields):
        response = proxy.get(path, fields={name.replace("_", "-"): value for name, value in fields.items()})
        return f"{response.status} {reason(response)}"

    assert line_for(If_None_Match='"v1"') == "304 Not Modified"
    assert line_for(If_Match='"v2"') == "412 Precondition Failed"
    assert line_for(Range="bytes=1-2") == "206 Partial Content"
    assert line_for(Range="bytes=1-2,4-5") == "206 Partial Content"
    assert line_for(Range="bytes=90-") == "416 Range Not Satisfiable"
    assert line_for() == line
    assert back.count(path) == 1


@pytest.mark.parametrize("line", ["200 OK", "200 Fine", "404 Not Found", "299 "])
def test_head(proxy, back, path, line):
    back.on(path, answers(line))
    for request in range(2):
        response = proxy.get(path, method="HEAD")
        assert (response.status, reason(response)) == (int(line[:3]), said(line)), "passed"
    proxy.get(path)
    response = proxy.get(path, method="HEAD")
    assert (response.status, reason(response)) == (int(line[:3]), said(line)) and is_hit(response)


@pytest.mark.parametrize("line", ["200 OK", "200 Fine"])
def test_what_a_304_confirms_keeps_its_line(proxy, back, path, line):
    def answer(request):
        if request.get("If-None-Match"):
            request.answer(b"", "304 Other Words", {"ETag": '"v1"', "Cache-Control": "max-age=60"}, length=False)
        else:
            request.answer("text", line, {"ETag": '"v1"', "Cache-Control": "max-age=60", "Age": "100"})

    back.on(path, answer)
    for source in ("fetched", "confirmed", "hit"):
        response = proxy.get(path)
        assert (response.status, reason(response), response.body) == (200, said(line), b"text"), source
    assert back.count(path) == 2 and is_hit(response)


@pytest.mark.parametrize("line", ["200 OK", "200 Fine"])
def test_what_is_served_stale_keeps_its_line(proxy, back, path, line):
    back.on(path, answers(line, {"Cache-Control": "max-age=1, stale-if-error=600", "Age": "100", "ETag": '"v1"'}))
    proxy.get(path)
    back.on(path, lambda request: request.answer("broken", "500 Internal Server Error"))
    response = proxy.get(path)
    assert (response.status, reason(response), response.body) == (200, said(line), b"text")
    assert status_of(response)["fwd"] == "stale"


@pytest.mark.parametrize("line", ["200 OK", "200 Fine"])
def test_what_a_head_request_updates_keeps_its_line(proxy, back, path, line):
    fields = {"ETag": '"v1"', "Cache-Control": "max-age=60", "Age": "100"}
    back.on(path, answers(line, fields))
    proxy.get(path)
    back.on(path, answers("200 Updated", {**fields, "Age": "0", "X-New": "1"}))
    proxy.get(path, method="HEAD")
    response = proxy.get(path)
    assert is_hit(response) and response.get("X-New") == "1" and reason(response) == said(line)


def test_a_large_response_in_slices(make_outrigger, origin):
    origin.on("/large", Ranger())
    outrigger = make_outrigger(origin=origin.url, site={"cache": {"slice": "64KiB"}})
    first = outrigger.get("/large", fields={"Range": "bytes=0-9"})
    assert (first.status, first.reason) == (206, "Partial Content")
    for _ in range(2):
        response = outrigger.get("/large")
        assert (response.status, response.reason, response.body) == (200, "OK", LARGE)
    part = outrigger.get("/large", fields={"Range": f"bytes={SIZE - 10}-"})
    assert (part.status, part.reason, part.body) == (206, "Partial Content", LARGE[-10:])


def test_why_shows_the_fields_alone(proxy, back, path):
    for line in ("200 OK", "200 Fine"):
        target = f"{path}/{line[4:]}"
        back.on(target, answers(line, {**FRESH, "X-First": "1"}))
        proxy.get(target)
        shown = proxy.ctl("why", f"http://site.test{target}")
        assert "HTTP/1.1" not in shown.stdout and "v1" in shown.stdout, shown.stdout


def expect_lines(outrigger, origin, lines):
    fetched = origin.count()
    for n, line in enumerate(lines):
        response = outrigger.get(f"/{n}")
        assert (response.status, reason(response), response.body) == (int(line[:3]), said(line), b"text") and is_hit(response), line
    assert origin.count() == fetched


def store_lines(outrigger, origin, lines):
    for n, line in enumerate(lines):
        origin.on(f"/{n}", answers(line, {**FRESH, "Cache-Control": "max-age=3600"}))
        outrigger.get(f"/{n}")


def test_from_disk_after_a_restart(make_outrigger, origin, tmp_path):
    outrigger = with_store(make_outrigger, origin, tmp_path / "store")
    store_lines(outrigger, origin, USUAL + UNUSUAL)
    await_written(outrigger, len(USUAL + UNUSUAL))
    restart(outrigger)
    for _ in range(2):
        expect_lines(outrigger, origin, USUAL + UNUSUAL)


def test_from_memory_after_an_upgrade(make, origin):  # noqa: F811
    outrigger = make()
    store_lines(outrigger, origin, USUAL + UNUSUAL)
    take_over(outrigger)
    expect_lines(outrigger, origin, USUAL + UNUSUAL)
