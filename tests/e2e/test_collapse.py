"""Many clients at once that ask for the same: who waits for whom, and what becomes of those who wait when nothing good comes."""
import itertools
import threading

import pytest

from harness.crowd import Crowd
from harness.http import Truncated
from harness.outrigger import SLOW
from harness.poll import in_time, until
from harness.status import status_of

HOST = "Host: site.test\r\n"
FRESH = {"Cache-Control": "max-age=60"}
PRIVATE = {"Cache-Control": "private"}


def get(path, fields=""):
    return f"GET {path} HTTP/1.1\r\n{HOST}{fields}\r\n".encode()


def await_collapsed(outrigger, count):
    until(lambda: outrigger.metric("outrigger_collapsed_requests_total") == count, timeout=30 * SLOW, what=f"{count} to wait for one fetch")


class Gated:
    """Answers wait for the gate; `most` is how many waited there at a time."""

    def __init__(self, answer):
        self.gate, self.answer, self.lock = threading.Event(), answer, threading.Lock()
        self.inside = self.most = self.count = 0

    def __call__(self, request):
        with self.lock:
            self.inside += 1
            self.count += 1
            self.most = max(self.most, self.inside)
            number = self.count
        self.gate.wait(60)
        with self.lock:  # before the answer: the next request may be here before its sender knows that it was sent
            self.inside -= 1
        self.answer(request, number)


# Hit-for-miss

@pytest.mark.threads
def test_after_a_private_response_nobody_waits_for_another(make_outrigger, origin):
    origin.on("/mine", lambda request: request.answer("first", fields=PRIVATE))
    outrigger = make_outrigger(origin=origin.url)
    assert status_of(outrigger.get("/mine"))["detail"] == "private"
    gated = Gated(lambda request, number: request.answer(f"{number:3}", fields=PRIVATE))
    origin.on("/mine", gated)
    with Crowd(outrigger.port, 100, get("/mine")).send() as crowd:
        until(lambda: gated.inside == 100, timeout=30 * SLOW, what="all to be at the origin at a time")
        gated.gate.set()
        crowd.until(lambda member: len(member.body) == 3)
        assert len({member.body for member in crowd.members}) == 100
    assert outrigger.metric("outrigger_collapsed_requests_total") == 0


def test_a_storable_response_ends_hit_for_miss(make_outrigger, origin):
    outrigger = make_outrigger(origin=origin.url)
    origin.on("/page", lambda request: request.answer("mine", fields=PRIVATE))
    assert status_of(outrigger.get("/page")) == {"fwd": "uri-miss", "fwd-status": "200", "detail": "private"}
    assert status_of(outrigger.get("/page")) == {"fwd": "uri-miss", "fwd-status": "200", "detail": "private"}
    origin.on("/page", b"for all")
    assert status_of(outrigger.get("/page")) == {"fwd": "uri-miss", "fwd-status": "200", "detail": "hit-for-miss"}
    assert status_of(outrigger.get("/page"))["stored"] is True
    assert "hit" in status_of(outrigger.get("/page"))


def test_a_purge_ends_hit_for_miss(make_outrigger, origin):
    outrigger = make_outrigger(origin=origin.url)
    origin.on("/page", lambda request: request.answer("mine", fields=PRIVATE))
    outrigger.get("/page")
    outrigger.get("/page", method="PURGE")
    origin.on("/page", b"for all")
    assert status_of(outrigger.get("/page"))["stored"] is True


@pytest.mark.parametrize("soft", [(), ("--soft",)])
@pytest.mark.parametrize("what, is_its", [(("--host", "site.test"), True), (("--host", "else.test"), False), (("--tag", "mine"), True), (("--tag", "others"), False), (("--all",), True)])
def test_a_purge_of_more_than_the_url_ends_hit_for_miss(proxy, back, path, what, is_its, soft):
    back.on(path, lambda request: request.answer("mine", fields={**PRIVATE, "Surrogate-Key": "mine"}))
    proxy.get(path)
    proxy.ctl("purge", *what, *soft)
    back.on(path, b"for all")
    assert status_of(proxy.get(path)).get("detail") == (None if is_its else "hit-for-miss")


def test_hit_for_miss_can_be_switched_off(make_outrigger, origin):
    outrigger = make_outrigger(origin=origin.url, site={"cache": {"hit_for_miss": 0}})
    origin.on("/page", lambda request: request.answer("mine", fields=PRIVATE))
    outrigger.get("/page")
    origin.on("/page", b"for all")
    assert status_of(outrigger.get("/page"))["stored"] is True


def test_conditions_of_the_client_reach_the_origin_where_nothing_is_stored(make_outrigger, origin):
    outrigger = make_outrigger(origin=origin.url)
    origin.on("/page", lambda request: request.answer("mine", fields={**PRIVATE, "ETag": '"1"'}))
    outrigger.get("/page")
    origin.on("/page", lambda request: request.answer(b"", "304 Not Modified", {"ETag": '"1"'}, length=False))
    assert outrigger.get("/page", fields={"If-None-Match": '"1"'}).status == 304
    assert origin.last("/page").get("if-none-match") == '"1"'


# Failures: one of those who waited asks again, the others wait for it; then the error is for all

CROWD = 500


def crowd_of_errors(outrigger, gated, fields=""):
    """All ask for /broken at a time; each one's status and body when the gate has opened."""
    with Crowd(outrigger.port, CROWD, get("/broken", fields)).send() as crowd:
        await_collapsed(outrigger, CROWD - 1)
        until(lambda: gated.most == 1, what="the request at the origin")
        gated.gate.set()
        crowd.until(lambda member: b"</html>" in member.body or member.body.startswith(b"trouble"), what="an answer")
        return [(member.status, member.body) for member in crowd.members]


@pytest.mark.threads
@pytest.mark.parametrize("status", ["500 Internal Server Error", "502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"])
def test_an_origin_that_answers_with_errors_gets_one_request_at_a_time(make_outrigger, origin, status):
    gated = Gated(lambda request, number: request.answer(f"trouble {number}", status))
    origin.on("/broken", gated)
    outrigger = make_outrigger(origin=origin.url)
    answers = crowd_of_errors(outrigger, gated)
    own = [body for _, body in answers if body.startswith(b"trouble")]
    assert len(own) == len(set(own)) == gated.count, "an error page is seen by the one that it was made for, and by nobody else"
    assert sorted({code for code, _ in answers}) == sorted({502, int(status[:3])})
    assert gated.most == 1 and 2 <= gated.count <= 4


@pytest.mark.threads
def test_an_origin_that_closes_without_an_answer_gets_one_request_at_a_time(make_outrigger, origin):
    def close(request, number):
        raise Truncated

    gated = Gated(close)
    origin.on("/broken", gated)
    outrigger = make_outrigger(origin=origin.url, site={"retries": 0, "down": 0})
    assert {code for code, _ in crowd_of_errors(outrigger, gated)} == {502}
    assert gated.most == 1 and 2 <= gated.count <= 4


@pytest.mark.threads
def test_those_who_waited_for_an_error_get_what_the_second_one_brings(make_outrigger, origin):
    gated = Gated(lambda request, number: request.answer("trouble", "500 Internal Server Error") if number == 1 else request.answer("fine", fields=FRESH))
    origin.on("/page", gated)
    outrigger = make_outrigger(origin=origin.url)
    with Crowd(outrigger.port, CROWD, get("/page")).send() as crowd:
        await_collapsed(outrigger, CROWD - 1)
        gated.gate.set()
        crowd.until(lambda member: member.body in (b"trouble", b"fine"), what="an answer")
        assert sorted(member.body for member in crowd.members) == [b"fine"] * (CROWD - 1) + [b"trouble"]
    assert gated.count == 2


@pytest.mark.threads
def test_an_origin_that_is_not_there_is_not_tried_again_by_those_who_waited(make_outrigger, origin):
    """Nothing about the one who asked made it fail."""
    gated = Gated(lambda request, number: None)
    seconds = 1 if SLOW == 1 else 5
    origin.on("*", gated)
    outrigger = make_outrigger(origin=origin.url, site={"timeouts": {"first_byte": f"{seconds}s"}, "retries": 0, "down": 0})
    numbers = itertools.count()

    def gathered():
        """All of them wait before the first one's time is over."""
        path, before = f"/broken/{next(numbers)}", outrigger.metric("outrigger_collapsed_requests_total")
        crowd = Crowd(outrigger.port, 100, get(path)).send()
        await_collapsed(outrigger, before + 99)
        return path, crowd

    path, crowd = in_time(gathered, 0.8 * seconds)
    with crowd:
        crowd.until(lambda member: b"</html>" in member.body, what="an answer")
        assert {member.status for member in crowd.members} == {504}
    until(lambda: origin.count(path) == 1, what="the origin to be asked")
    gated.gate.set()


def test_an_error_that_says_how_long_it_is_fresh_is_for_all(make_outrigger, origin):
    gated = Gated(lambda request, number: request.answer("trouble", "503 Service Unavailable", FRESH))
    origin.on("/broken", gated)
    outrigger = make_outrigger(origin=origin.url)
    assert set(crowd_of_errors(outrigger, gated)) == {(503, b"trouble")}
    assert gated.count == 1


def test_an_error_is_not_remembered_as_hit_for_miss(make_outrigger, origin):
    origin.on("/page", lambda request: request.answer("trouble", "503 Service Unavailable"))
    outrigger = make_outrigger(origin=origin.url)
    assert outrigger.get("/page").status == 503
    origin.on("/page", b"fine")
    assert status_of(outrigger.get("/page"))["stored"] is True
