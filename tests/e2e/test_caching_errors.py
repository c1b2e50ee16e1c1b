"""Errors that do not say how long they are fresh: kept for as long as the site says, and never in the place of a success."""
import itertools

import pytest

from harness.poll import until
from harness.status import status_of

STALE = {"Cache-Control": "max-age=60", "Age": "100"}  # stale on arrival


@pytest.fixture(scope="module")
def keeping(back, make_module_outrigger):
    return make_module_outrigger(origin=back.url, site={"cache": {"errors": {"404": "60s", "5xx": "60s", "503": "1s"}, "grace": "300s"}, "retries": 0})


def numbered(status, fields):
    count = itertools.count(1)
    return lambda request: request.answer(f"answer {next(count)}", status, fields)


@pytest.mark.parametrize("status", ["404 Not Found", "500 Internal Server Error", "502 Bad Gateway", "599 Whatever"])
def test_an_error_is_kept(keeping, back, path, status):
    back.on(path, numbered(status, {}))
    assert status_of(keeping.get(path))["stored"] is True
    second = keeping.get(path)
    assert "hit" in status_of(second) and second.body == b"answer 1" and second.status == int(status[:3])
    assert int(status_of(second)["ttl"]) in range(50, 61) and back.count(path) == 1


def test_without_the_rule_it_is_not(proxy, back, path):
    back.on(path, numbered("404 Not Found", {}))
    for _ in range(2):
        assert status_of(proxy.get(path))["detail"] == "no-freshness"
    assert back.count(path) == 2


NOT_KEPT = {
    "no-store": ("404 Not Found", {"Cache-Control": "no-store"}, "no-store"),
    "private": ("404 Not Found", {"Cache-Control": "private"}, "private"),
    "its own max-age=0": ("404 Not Found", {"Cache-Control": "max-age=0"}, "zero-lifetime"),
    "its own Expires": ("500 Internal Server Error", {"Expires": "0"}, "zero-lifetime"),
    "a cookie": ("404 Not Found", {"Set-Cookie": "a=b"}, "set-cookie"),
    "another status": ("403 Forbidden", {}, "status"),
    "no error": ("302 Found", {"Location": "/"}, "status"),
}


@pytest.mark.parametrize("name", NOT_KEPT)
def test_not_kept(keeping, back, path, name):
    status, fields, detail = NOT_KEPT[name]
    back.on(path, numbered(status, fields))
    for _ in range(2):
        assert status_of(keeping.get(path))["detail"] == detail
    assert back.count(path) == 2


def test_its_own_lifetime_counts_more(keeping, back, path):
    back.on(path, numbered("404 Not Found", {"Cache-Control": "max-age=600"}))
    keeping.get(path)
    assert int(status_of(keeping.get(path))["ttl"]) > 500


def test_an_error_ends(keeping, back, path):
    back.on(path, numbered("503 Service Unavailable", {}))
    assert keeping.get(path).body == b"answer 1"
    back.on(path, numbered("200 OK", {"Cache-Control": "max-age=60"}))
    until(lambda: keeping.get(path).status == 200, what="the error of 1 s to be over")


def succeed_once(status, body="gone"):
    """A stale success, then errors that say nothing about their freshness."""
    count = itertools.count(1)

    def handler(request):
        if next(count) == 1:
            request.answer("one", fields={**STALE, "ETag": '"1"'})
        else:
            request.answer(body, status)
    return handler


def test_404_does_not_take_the_place_of_a_success(keeping, back, path):
    back.on(path, succeed_once("404 Not Found"))
    assert keeping.get(path).body == b"one"
    for _ in range(2):
        response = keeping.get(path)
        assert response.status == 404 and status_of(response)["fwd"] == "stale" and "stored" not in status_of(response)
    assert back.last(path).get("if-none-match") == '"1"'


def test_5xx_does_not_take_the_place_of_a_success_which_is_served(keeping, back, path):
    back.on(path, succeed_once("500 Internal Server Error"))
    assert keeping.get(path).body == b"one"
    for _ in range(2):
        response = keeping.get(path)
        assert response.body == b"one" and response.status == 200
        assert status_of(response)["detail"] == "stale-if-error"
    assert back.last(path).get("if-none-match") == '"1"'
