"""Stale responses: when the origin is in trouble, or slow.

No test waits for a response to grow old: the origin says how old it is (`Age`), so that it is stale on arrival."""
import itertools
import threading

import pytest

from harness.crowd import Crowd
from harness.deaf import Deaf
from harness.http import Truncated
from harness.outrigger import SLOW
from harness.poll import until
from harness.status import status_of

HOST = "Host: site.test\r\n"
FRESH = {"Cache-Control": "max-age=60"}


def stale(control="max-age=60, stale-if-error=1000", **fields):
    """A handler: stale for 40 seconds, and stored since it has a validator."""
    return lambda request: request.answer("old", fields={"Cache-Control": control, "Age": "100", "ETag": '"v1"', **fields})


# The origin in trouble

def silent(request):
    threading.Event().wait(20 * SLOW)
    raise Truncated


def close(request):
    raise Truncated


def nonsense(request):
    request.send(b"nonsense\r\n\r\n")
    raise Truncated


def half_a_head(request):
    request.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    raise Truncated


def error(status):
    return lambda request: request.answer("trouble", status)


# how it fails: what the origin does now, and the status without a stale response
TROUBLES = {
    "closes": (close, 502),
    "sends nonsense": (nonsense, 502),
    "breaks off in the head": (half_a_head, 502),
    "does not answer in time": (silent, 504),
    "500": (error("500 Internal Server Error"), 500),
    "502": (error("502 Bad Gateway"), 502),
    "503": (error("503 Service Unavailable"), 503),
    "504": (error("504 Gateway Timeout"), 504),
    "has gone": ("gone", 502),
    "does not accept": ("deaf", 504),
}


@pytest.fixture
def troubled(make_outrigger, make_origin):
    """An accelerator that has `control` stored and stale, and an origin that fails from now on."""
    deaf = []

    def make(kind, control, **cache):
        trouble, status = TROUBLES[kind]
        origin = make_origin()
        origin.on("/page", stale(control))
        timeouts = {"does not accept": {"connect": "300ms"}, "does not answer in time": {"first_byte": "300ms"}}.get(kind, {})
        outrigger = make_outrigger(origin=origin.url, site={"cache": cache, "retries": 0, "down": 0, "timeouts": timeouts})
        until(lambda: outrigger.get("/page").body == b"old", what="an answer in time")
        if callable(trouble):
            origin.on("/page", trouble)
        else:
            origin.stop()
            until(lambda: not origin.open, what="the connections to end")
            if trouble == "deaf":
                deaf.append(Deaf(("127.0.0.1", origin.port)))
        return outrigger, status

    yield make
    for one in deaf:
        one.stop()


@pytest.mark.parametrize("kind", TROUBLES)
@pytest.mark.parametrize("control, cache", [("max-age=60, stale-if-error=1000", {}), ("max-age=60", {"grace": "1h"}), ("max-age=60, stale-while-revalidate=30", {"grace": "1h"})])
def test_the_stale_response_answers(troubled, kind, control, cache):
    outrigger, _ = troubled(kind, control, **cache)
    for method in ("GET", "HEAD"):
        response = outrigger.get("/page", method=method)
        assert response.status == 200 and response.body == (b"old" if method == "GET" else b"")
        assert status_of(response) == {"fwd": "stale", "detail": "stale-if-error"}
        assert int(response.get("age")) >= 100 and response.get("etag") == '"v1"'


FORBIDDEN = [
    ("max-age=60", {}),
    ("max-age=60, stale-if-error=10", {"grace": "1h"}),
    ("max-age=60, must-revalidate, stale-if-error=1000", {"grace": "1h"}),
    ("max-age=60, proxy-revalidate", {"grace": "1h"}),
    ("s-maxage=60", {"grace": "1h"}),
    ("no-cache", {"grace": "1h"}),
]


@pytest.mark.parametrize("kind", TROUBLES)
@pytest.mark.parametrize("control, cache", FORBIDDEN)
def test_it_does_not_where_that_is_forbidden(troubled, kind, control, cache):
    outrigger, status = troubled(kind, control, **cache)
    response = outrigger.get("/page")
    assert response.status == status and response.body != b"old"


@pytest.mark.parametrize("status", ["501 Not Implemented", "505 HTTP Version Not Supported", "404 Not Found", "400 Bad Request", "429 Too Many Requests"])
def test_other_errors_are_the_answer(make_outrigger, origin, status):
    outrigger = make_outrigger(origin=origin.url, site={"cache": {"grace": "1h"}})
    origin.on("/page", stale())
    outrigger.get("/page")
    origin.on("/page", error(status))
    assert outrigger.get("/page").status == int(status[:3])


def test_conditions_and_ranges_are_answered_from_the_stale_response(troubled):
    outrigger, _ = troubled("closes", "max-age=60, stale-if-error=1000")
    assert outrigger.get("/page", fields={"If-None-Match": '"v1"'}).status == 304
    part = outrigger.get("/page", fields={"Range": "bytes=1-"})
    assert (part.status, part.body, part.get("content-range")) == (206, b"ld", "bytes 1-2/3")


def test_the_origin_is_asked_again_each_time_and_believed_when_it_is_well(make_outrigger, origin):
    outrigger = make_outrigger(origin=origin.url)
    origin.on("/page", stale())
    outrigger.get("/page")
    origin.on("/page", error("503 Service Unavailable"))
    assert [outrigger.get("/page").body for _ in range(3)] == [b"old"] * 3 and origin.count() == 4
    origin.on("/page", b"new")
    assert outrigger.get("/page").body == b"new" and "hit" in status_of(outrigger.get("/page"))


@pytest.mark.threads
def test_all_who_wait_get_the_stale_response(make_outrigger, origin):
    gate = threading.Event()
    outrigger = make_outrigger(origin=origin.url)
    origin.on("/page", stale())
    outrigger.get("/page")
    origin.on("/page", lambda request: (gate.wait(60), request.answer("trouble", "500 Internal Server Error")))
    with Crowd(outrigger.port, 200, f"GET /page HTTP/1.1\r\n{HOST}\r\n".encode()).send() as crowd:
        until(lambda: outrigger.metric("outrigger_collapsed_requests_total") == 199, timeout=30 * SLOW, what="all to wait for one fetch")
        gate.set()
        crowd.until(lambda member: member.body == b"old")
    assert origin.count() == 2


# A slow origin

@pytest.fixture
def slow(make_outrigger, origin):
    """An accelerator with a stale /page, and the gate that the origin's next answer waits for."""
    gates = []

    def make(control="max-age=60, stale-if-error=1000", answer=None, **cache):
        gates.append(threading.Event())
        origin.on("/page", stale(control))
        outrigger = make_outrigger(origin=origin.url, site={"cache": {"stale_if_slow": "20ms", **cache}})
        outrigger.get("/page")
        count = itertools.count(1)
        origin.on("/page", lambda request: (gates[-1].wait(60), (answer or (lambda r: r.answer(f"new {next(count)}", fields=FRESH)))(request)))
        return outrigger, gates[-1]

    yield make
    for gate in gates:
        gate.set()


def test_a_slow_origin_is_not_waited_for_and_its_answer_is_stored(slow, origin):
    outrigger, gate = slow()
    for _ in range(3):
        response = outrigger.get("/page")
        assert (response.status, response.body) == (200, b"old") and int(response.get("age")) >= 100
        assert status_of(response) == {"fwd": "stale", "detail": "stale-if-slow"}
    until(lambda: origin.count() == 2, what="one fetch, which goes on")
    assert origin.last().get("if-none-match") == '"v1"'
    gate.set()
    until(lambda: "hit" in status_of(response := outrigger.get("/page")) and response.body == b"new 1", what="the new response")
    assert origin.count() == 2


def test_a_slow_validation_refreshes_what_is_stored(slow, origin):
    outrigger, gate = slow(answer=lambda request: request.answer(b"", "304 Not Modified", {"ETag": '"v1"', **FRESH}, length=False))
    assert status_of(outrigger.get("/page"))["detail"] == "stale-if-slow"
    gate.set()
    until(lambda: "hit" in status_of(outrigger.get("/page")), what="the refreshed response")
    assert outrigger.get("/page").body == b"old" and origin.count() == 2


@pytest.mark.parametrize("control, cache", FORBIDDEN)
def test_a_slow_origin_is_waited_for_where_stale_is_forbidden(slow, control, cache):
    outrigger, gate = slow(control, **cache)
    timer = threading.Timer(0.3, gate.set)
    timer.start()
    assert outrigger.get("/page").body == b"new 1"
    timer.join()


def test_grace_allows_it_too(slow):
    outrigger, _ = slow("max-age=60", grace="1h")
    assert status_of(outrigger.get("/page"))["detail"] == "stale-if-slow"


def test_a_fast_answer_is_the_answer(slow):
    outrigger, gate = slow(stale_if_slow="10s")
    gate.set()
    assert outrigger.get("/page").body == b"new 1"


def test_a_miss_is_waited_for(make_outrigger, origin):
    gate = threading.Event()
    origin.on("/page", lambda request: (gate.wait(60), request.answer("new", fields=FRESH)))
    outrigger = make_outrigger(origin=origin.url, site={"cache": {"stale_if_slow": "20ms", "grace": "1h"}})
    timer = threading.Timer(0.3, gate.set)
    timer.start()
    assert outrigger.get("/page").body == b"new"
    timer.join()


def test_a_slow_origin_that_fails_in_the_end_leaves_the_stale_response(slow, origin):
    outrigger, gate = slow(answer=lambda request: request.answer("trouble", "500 Internal Server Error"))
    assert status_of(outrigger.get("/page"))["detail"] == "stale-if-slow"
    gate.set()
    until(lambda: status_of(outrigger.get("/page"))["detail"] == "stale-if-error", what="the error to be known")
    assert outrigger.get("/page").body == b"old"


def test_interim_responses_after_the_stale_answer_are_not_sent(slow, origin):
    outrigger, gate = slow(answer=lambda request: (request.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), request.answer("new", fields=FRESH)))
    with outrigger.connect() as client:
        interim = []
        client.send(f"GET /page HTTP/1.1\r\n{HOST}\r\n")
        assert client.response(interim=interim).body == b"old"
        gate.set()
        until(lambda: outrigger.get("/page").body == b"new", what="the new response")
        client.send(f"GET /page HTTP/1.1\r\n{HOST}\r\n")
        assert client.response(interim=interim).body == b"new" and interim == []


@pytest.mark.threads
def test_a_crowd_does_not_wait_for_a_slow_origin(slow, origin):
    outrigger, gate = slow()
    with Crowd(outrigger.port, 300, f"GET /page HTTP/1.1\r\n{HOST}\r\n".encode()).send() as crowd:
        crowd.until(lambda member: member.body == b"old")
    until(lambda: origin.count() == 2, what="one fetch for all")
    gate.set()
    until(lambda: outrigger.get("/page").body == b"new 1", what="the new response")


@pytest.mark.threads
def test_clients_that_leave_while_they_wait_cancel_nothing(slow, origin):
    outrigger, gate = slow(stale_if_slow="100ms")
    for _ in range(20):
        with outrigger.connect() as client:
            client.send(f"GET /page HTTP/1.1\r\n{HOST}\r\n")
            client.reset()
    gate.set()
    until(lambda: outrigger.get("/page").body == b"new 1", what="the new response")


# The origin has something else to say, for nobody to share

def test_an_update_that_is_not_to_be_shared_ends_the_stale_response(make_outrigger, origin):
    outrigger, number = make_outrigger(origin=origin.url), itertools.count()
    origin.on("/page", stale("max-age=60, stale-while-revalidate=100000"))
    outrigger.get("/page")
    origin.on("/page", lambda request: request.answer(f"for one {next(number)}", fields={"Cache-Control": "private"}))
    assert outrigger.get("/page").body == b"old"
    until(lambda: origin.count("/page") == 2, what="the update")
    until(lambda: outrigger.get("/page").body != b"old", what="what the origin says now")
    responses = [outrigger.get("/page") for _ in range(3)]
    assert len({response.body for response in responses}) == 3 and b"old" not in {response.body for response in responses}
    assert all(status_of(response)["detail"] == "private" for response in responses)


def test_an_update_that_is_an_error_leaves_it(make_outrigger, origin):
    outrigger = make_outrigger(origin=origin.url)
    origin.on("/page", stale("max-age=60, stale-while-revalidate=100000"))
    outrigger.get("/page")
    origin.on("/page", lambda request: request.answer("trouble", "503 Service Unavailable", fields={"Cache-Control": "no-store"}))
    bodies = []
    until(lambda: bodies.append(outrigger.get("/page").body) or origin.count("/page") >= 4, what="three updates, one after the other")
    assert set(bodies) == {b"old"}
