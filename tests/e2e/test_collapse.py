"""Many clients at once that ask for the same: who waits for whom, and what becomes of those who wait when nothing good comes."""
import itertools
import threading

import pytest

from harness.crowd import Crowd
from harness.http import Truncated
from harness.outrigger import SLOW
from harness.poll import until
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
        try:
            self.gate.wait(60)
            self.answer(request, number)
        finally:
            with self.lock:
                self.inside -= 1


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
