"""The response to a POST that may answer later GETs (RFC 9110 §9.3.3), and what a POST makes invalid (RFC 9111 §4.4)."""
import threading

import pytest

from harness.outrigger import SLOW
from harness.status import status_of

FRESH = {"Cache-Control": "max-age=60"}


def post(proxy, path, body=b"x=1", **fields):
    return proxy.get(path, method="POST", body=body, fields=fields)


def answering(back, path, fields, **more):
    """Says by which method it was asked, and how often."""
    back.on(path, lambda r: r.answer(f"{r.method} {back.count(path)}", fields={**FRESH, "Content-Location": path, **fields}, **more))


@pytest.mark.parametrize("fields", [{}, {"Cache-Control": "s-maxage=60"}, {"Cache-Control": "", "Expires": "Fri, 01 Jan 2100 00:00:00 GMT"}, {"Cache-Control": "no-store", "CDN-Cache-Control": "max-age=60"}])
def test_answers_later_gets_and_heads(proxy, back, path, fields):
    answering(back, path, fields)
    posted = post(proxy, path)
    assert posted.body == b"POST 1" and status_of(posted)["fwd"] == "method" and status_of(posted)["stored"] is True
    got = proxy.get(path)
    assert (got.status, got.body) == (200, b"POST 1") and "hit" in status_of(got) and got.get("content-location") == path
    assert "hit" in status_of(proxy.get(path, method="HEAD")) and back.count(path) == 1


def test_a_post_is_always_forwarded(proxy, back, path):
    answering(back, path, {})
    assert [post(proxy, path).body for _ in range(3)] == [b"POST 1", b"POST 2", b"POST 3"]
    assert proxy.get(path).body == b"POST 3", "the latest"


NOT_STORED = {
    "without Content-Location": {"Content-Location": None},
    "of another resource": {"Content-Location": "/else"},
    "of the path without the query": {"Content-Location": "?"},
    "of another origin": {"Content-Location": "http://else.test/"},
    "fresh by a guess only": {"Cache-Control": "", "Last-Modified": "Tue, 01 Jul 2025 10:00:00 GMT"},
    "validator only": {"Cache-Control": "", "ETag": '"1"'},
    "no-store": {"Cache-Control": "max-age=60, no-store"},
    "private": {"Cache-Control": "max-age=60, private"},
    "Set-Cookie": {"Set-Cookie": "a=b"},
    "Vary: *": {"Vary": "*"},
}


@pytest.mark.parametrize("name", NOT_STORED)
def test_not_stored(proxy, back, path, name):
    fields = {"Content-Location": path, **NOT_STORED[name]}
    back.on(path, lambda r: r.answer(r.method, fields={k: v for k, v in {**FRESH, **fields}.items() if v is not None} if r.method == "POST" else FRESH))
    assert "stored" not in status_of(post(proxy, path))
    got = proxy.get(path)
    assert got.body == b"GET" and status_of(got)["fwd"] == "uri-miss" and status_of(got)["stored"] is True


@pytest.mark.parametrize("status", ["201 Created", "202 Accepted", "303 See Other", "404 Not Found"])
def test_other_statuses_are_not_stored(proxy, back, path, status):
    answering(back, path, {}, status=status)
    post(proxy, path)
    assert proxy.get(path).body == b"GET 2"


@pytest.mark.parametrize("control, is_stored", [("max-age=60", False), ("max-age=60, public", True), ("max-age=60, must-revalidate", True), ("s-maxage=60", True)])
def test_with_authorization_only_where_the_response_allows_it(proxy, back, path, control, is_stored):
    answering(back, path, {"Cache-Control": control})
    post(proxy, path, Authorization="Basic eDp5")
    assert proxy.get(path).body == (b"POST 1" if is_stored else b"GET 2")


def test_it_varies_by_the_fields_of_the_post(proxy, back, path):
    answering(back, path, {"Vary": "Accept-Language"})
    post(proxy, path, **{"Accept-Language": "de"})
    assert proxy.get(path, fields={"Accept-Language": "de"}).body == b"POST 1"
    other = proxy.get(path, fields={"Accept-Language": "en"})
    assert other.body == b"GET 2" and status_of(other)["fwd"] == "vary-miss"
    assert proxy.get(path, fields={"Accept-Language": "de"}).body == b"POST 1"


def test_it_replaces_what_is_stored_with_its_variants(proxy, back, path):
    answering(back, path, {"Vary": "Accept-Language"})
    for language in ("de", "en"):
        proxy.get(path, fields={"Accept-Language": language})
    post(proxy, path, **{"Accept-Language": "de"})
    assert proxy.get(path, fields={"Accept-Language": "de"}).body == b"POST 3"
    assert proxy.get(path, fields={"Accept-Language": "en"}).body == b"GET 4"


def test_one_that_is_not_stored_invalidates(proxy, back, path):
    back.on(path, lambda r: r.answer(f"{r.method} {back.count(path)}", fields={**FRESH, **({"Location": path} if r.method == "POST" else {})}))
    proxy.get(path)
    post(proxy, path)
    assert proxy.get(path).body == b"GET 3"


def test_what_its_location_names_does_not_take_it_away(proxy, back, path):
    answering(back, path, {"Location": path})
    back.on(path + "/other", b"other")
    post(proxy, path)
    assert proxy.get(path).body == b"POST 1"
    answering(back, path, {"Location": path + "/other"})
    proxy.get(path + "/other")
    post(proxy, path)
    proxy.get(path + "/other")
    assert proxy.get(path).body == b"POST 2" and back.count(path + "/other") == 2


def test_the_answer_to_an_earlier_get_does_not_replace_it(proxy, back, path):
    arrived, go = threading.Event(), threading.Event()

    def handler(request):
        if request.method == "GET":
            arrived.set()
            go.wait(20 * SLOW)
        request.answer(request.method, fields={**FRESH, "Content-Location": path})

    back.on(path, handler)
    with proxy.connect() as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: site.test\r\n\r\n")
        assert arrived.wait(20 * SLOW)
        post(proxy, path)
        go.set()
        assert client.response().body == b"GET"
    assert proxy.get(path).body == b"POST"


def test_it_can_be_purged_and_validated_like_any_other(proxy, back, path):
    answering(back, path, {"Surrogate-Key": path, "ETag": '"1"'})
    post(proxy, path)
    assert proxy.get(path, fields={"If-None-Match": '"1"'}).status == 304
    proxy.ctl("purge", "--soft", "--tag", path)
    back.on(path, lambda r: r.answer(status="304 Not Modified", fields={"ETag": '"1"'}, length=False))
    assert proxy.get(path).body == b"POST 1" and back.last(path).get("if-none-match") == '"1"'
    proxy.get(path, method="PURGE")
    back.on(path, b"new")
    assert proxy.get(path).body == b"new"


def test_a_large_one(proxy, back, path):
    body = bytes(range(256)) * 4096
    back.on(path, lambda r: r.answer(body, fields={**FRESH, "Content-Location": f"http://site.test{path}"}))
    assert post(proxy, path, body * 2).body == body and proxy.get(path).body == body and back.count(path) == 1


def test_the_sites_rules_hold_for_it(make_outrigger, origin):
    outrigger = make_outrigger(origin=origin.url, site={"cache": {"bypass_cookies": ["session"], "query": {"ignore": "tracking"}, "honour_request_directives": True}})
    answering(origin, "/p", {})
    for fields in ({"Cookie": "session=1"}, {"Cache-Control": "no-store"}):
        post(outrigger, "/p", **fields)
        assert outrigger.get("/p", method="HEAD").get("cache-status").count("hit") == 0
    post(outrigger, "/p?utm_source=x")
    assert "hit" in status_of(outrigger.get("/p?utm_medium=y"))
