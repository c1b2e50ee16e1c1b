"""Statuses: any final one may be stored (RFC 9111 §3), and passes through untouched."""
import itertools

import pytest

from harness.status import status_of

OLD = "Tue, 01 Jul 2025 10:00:00 GMT"
FINAL = [200, 201, 202, 203, 204, 205, 206, 226, 299, 300, 301, 302, 303, 305, 306, 307, 308, 399, 400, 401, 402, 403, 404, 405, 406, 409, 410, 412, 414, 416, 418, 422,
         429, 451, 499, 500, 501, 502, 503, 504, 505, 511, 599, 600, 700, 999]
HEURISTIC = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501]  # RFC 9110 §15.1; 206 answers a range that was not asked for


def numbered(status, fields):
    count = itertools.count(1)
    body = "" if status == 204 else "answer "
    return lambda request: request.answer(body + str(next(count)) if body else b"", f"{status} Some Reason", fields, length=status != 204)


@pytest.mark.parametrize("status", [s for s in FINAL if s != 206])
def test_stored_when_explicitly_fresh(proxy, back, path, status):
    back.on(path, numbered(status, {"Cache-Control": "max-age=60", "Location": "/x"}))
    first, second = proxy.get(path), proxy.get(path)
    assert [r.status for r in (first, second)] == [status] * 2 and second.reason == "Some Reason"
    assert "hit" in status_of(second) and second.body == first.body and back.count(path) == 1


@pytest.mark.parametrize("status", [s for s in FINAL if s != 206])
def test_guessed_for_some_only(proxy, back, path, status):
    back.on(path, numbered(status, {"Last-Modified": OLD}))
    assert proxy.get(path).status == status
    assert ("hit" in status_of(proxy.get(path))) == (status in HEURISTIC)


@pytest.mark.parametrize("status", [201, 299, 302, 403, 499, 599, 999])
def test_guessed_for_any_that_is_public(proxy, back, path, status):
    back.on(path, numbered(status, {"Last-Modified": OLD, "Cache-Control": "public"}))
    assert proxy.get(path).status == status
    assert "hit" in status_of(proxy.get(path))


@pytest.mark.parametrize("status, stored", [(200, True), (404, True), (299, False), (499, False), (599, False)])
def test_must_understand(proxy, back, path, status, stored):
    """RFC 9111 §5.2.2.3: no-store is for the caches that do not know the status."""
    back.on(path, numbered(status, {"Cache-Control": "max-age=60, no-store, must-understand"}))
    assert proxy.get(path).status == status
    response = proxy.get(path)
    assert ("hit" in status_of(response)) == stored
    if not stored:
        assert status_of(response)["detail"] == "must-understand"


def test_a_304_that_nobody_asked_for_reaches_nobody(proxy, back, path):
    back.on(path, lambda request: request.answer(status="304 Not Modified", fields={"Cache-Control": "max-age=60", "ETag": '"1"'}, length=False))
    for _ in range(2):
        assert proxy.get(path).status == 502
    assert back.count(path) == 2


def test_a_304_to_the_clients_own_condition_does(proxy, back, path):
    back.on(path, lambda request: request.answer(status="304 Not Modified", fields={"ETag": '"1"'}, length=False))
    assert proxy.get(path, method="HEAD", fields={"If-None-Match": '"1"'}).status == 304


@pytest.mark.parametrize("status", [404, 410, 500, 599])
def test_conditions_count_for_successes_only(proxy, back, path, status):
    """RFC 9110 §13.2.1: a response that would not be 2xx is sent whatever the condition says."""
    back.on(path, numbered(status, {"Cache-Control": "max-age=60", "ETag": '"1"', "Last-Modified": OLD}))
    proxy.get(path)
    for fields in ({"If-None-Match": '"1"'}, {"If-None-Match": "*"}, {"If-Modified-Since": OLD}, {"If-Match": '"2"'}):
        response = proxy.get(path, fields=fields)
        assert response.status == status and "hit" in status_of(response) and response.body == b"answer 1"
