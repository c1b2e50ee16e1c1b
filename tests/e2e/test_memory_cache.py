"""The memory cache: what is stored and for how long, what is answered from it, and how it leaves again.

No test waits for a response to grow old: the origin says how old it is (`Age`), so that it is stale on arrival."""
import itertools
import re
import threading
from email.utils import formatdate

import pytest

from harness.bulk import body_of
from harness.http import Truncated
from harness.poll import until
from harness.status import status_of

HOST = "Host: site.test\r\n"
FRESH = {"Cache-Control": "max-age=60"}
STALE = {"Cache-Control": "max-age=60", "Age": "100"}  # stale for 40 seconds
ETAG = {"ETag": '"v1"'}
OLD_DATE = "Tue, 01 Jul 2025 10:00:00 GMT"


def numbered(fields, status="200 OK"):
    """Each answer has a body of its own, so that it shows which answer a client got."""
    count = itertools.count(1)
    return lambda request: request.answer(f"answer {next(count)}", status, fields)


# Hits and misses

def test_a_miss_is_stored_and_then_a_hit(proxy, back, path):
    back.on(path, numbered(FRESH))
    first, second = proxy.get(path), proxy.get(path)
    assert first.get("cache-status") == "outrigger; fwd=uri-miss; fwd-status=200; stored"
    assert first.get("age") is None
    assert second.body == b"answer 1"
    assert re.fullmatch(r"outrigger; hit; ttl=(60|59|58)", second.get("cache-status"))
    assert second.get("age") in ("0", "1", "2")
    assert second.get("content-length") == "8" and second.get("transfer-encoding") is None
    assert back.count(path) == 1


def test_age_begins_where_the_origin_says(proxy, back, path):
    back.on(path, numbered({"Cache-Control": "max-age=60", "Age": "20"}))
    assert proxy.get(path).get("age") in ("20", "21")
    hit = proxy.get(path)
    assert hit.get("age") in ("20", "21", "22") and len(hit.all("age")) == 1
    assert status_of(hit)["ttl"] in ("40", "39", "38")


def test_a_stored_response_has_a_date(proxy, back, path):
    back.on(path, numbered(FRESH))
    proxy.get(path)
    assert proxy.get(path).get("date").endswith(" GMT")
    back.on(path + "/own", numbered({**FRESH, "Date": OLD_DATE, "Cache-Control": "max-age=9999999999"}))
    proxy.get(path + "/own")
    assert proxy.get(path + "/own").all("date") == [OLD_DATE]


STORED = {
    "max-age": (FRESH, "200 OK", {}),
    "s-maxage beats max-age": ({"Cache-Control": "max-age=0, s-maxage=60"}, "200 OK", {}),
    "two lines": ([("Cache-Control", "public"), ("Cache-Control", "max-age=60")], "200 OK", {}),
    "upper case": ({"Cache-Control": "MAX-AGE=60"}, "200 OK", {}),
    "expires": ({"Expires": formatdate(4000000000, usegmt=True)}, "200 OK", {}),
    "heuristic": ({"Last-Modified": OLD_DATE}, "200 OK", {}),
    "not found": (FRESH, "404 Not Found", {}),
    "moved": ({**FRESH, "Location": "/x"}, "301 Moved Permanently", {}),
    "found, with max-age": ({**FRESH, "Location": "/x"}, "302 Found", {}),
    "server error, with max-age": (FRESH, "500 Internal Server Error", {}),
    "authorized and public": ({"Cache-Control": "public, max-age=60"}, "200 OK", {"Authorization": "Basic x"}),
    "authorized and s-maxage": ({"Cache-Control": "s-maxage=60"}, "200 OK", {"Authorization": "Basic x"}),
    "request with cookies": (FRESH, "200 OK", {"Cookie": "a=b"}),
    "a client that says no-cache": (FRESH, "200 OK", {"Cache-Control": "no-cache", "Pragma": "no-cache"}),
    "a client that says no-store": (FRESH, "200 OK", {"Cache-Control": "no-store"}),
    "a directive that only contains no-store": ({"Cache-Control": 'max-age=60, x-no-store, y="no-store"'}, "200 OK", {}),
}


@pytest.mark.parametrize("name", STORED)
def test_stored(proxy, back, path, name):
    fields, status, request = STORED[name]
    back.on(path, numbered(fields, status))
    first, second = proxy.get(path, fields=request), proxy.get(path, fields=request)
    assert status_of(first)["stored"] is True
    assert "hit" in status_of(second) and second.body == b"answer 1" and second.status == int(status[:3])
    assert back.count(path) == 1


NOT_STORED = {
    "no-store": ({"Cache-Control": "no-store, max-age=60"}, "200 OK", {}, "no-store"),
    "no-store on the second line": ([("Cache-Control", "max-age=60"), ("Cache-Control", "no-store")], "200 OK", {}, "no-store"),
    "private": ({"Cache-Control": "private, max-age=60"}, "200 OK", {}, "private"),
    "private fields without which it has no meaning": ({"Cache-Control": 'private="Vary", max-age=60'}, "200 OK", {}, "private"),
    "authorized": (FRESH, "200 OK", {"Authorization": "Basic x"}, "authorization"),
    "cookie": ({**FRESH, "Set-Cookie": "a=b"}, "200 OK", {}, "set-cookie"),
    "cookie and public": ({"Cache-Control": "public, max-age=60", "Set-Cookie": "a=b"}, "200 OK", {}, "set-cookie"),
    "vary star": ({**FRESH, "Vary": "*"}, "200 OK", {}, "vary-star"),
    "vary star in a list": ({**FRESH, "Vary": "Accept, *"}, "200 OK", {}, "vary-star"),
    "nothing said": ({}, "200 OK", {}, "no-freshness"),
    "max-age 0": ({"Cache-Control": "max-age=0"}, "200 OK", {}, "zero-lifetime"),
    "stale on arrival": (STALE, "200 OK", {}, "zero-lifetime"),
    "an invalid expires": ({"Expires": "0"}, "200 OK", {}, "zero-lifetime"),
    "a broken max-age": ({"Cache-Control": "max-age=sixty"}, "200 OK", {}, "zero-lifetime"),
    "no-cache without validator": ({"Cache-Control": "no-cache, max-age=60"}, "200 OK", {}, "no-cache"),
    "server error": ({}, "500 Internal Server Error", {}, "status"),
    "found": ({"Location": "/x"}, "302 Found", {}, "status"),
    "an unknown status": ({"Last-Modified": OLD_DATE}, "299 Whatever", {}, "status"),
}


@pytest.mark.parametrize("name", NOT_STORED)
def test_not_stored(proxy, back, path, name):
    fields, status, request, detail = NOT_STORED[name]
    back.on(path, numbered(fields, status))
    for n in range(1, 3):
        response = proxy.get(path, fields=request)
        assert response.status == int(status[:3]) and response.body == f"answer {n}".encode()
        assert status_of(response) == {"fwd": "uri-miss", "fwd-status": status[:3], "detail": detail}
    assert back.count(path) == 2


@pytest.mark.parametrize("suffix", [".css", ".js", ".jpg", "/x.css", ";.css", "%2f.css", "%00.css", "?.css"])
def test_a_file_extension_makes_nothing_storable(proxy, back, path, suffix):
    back.on(path + suffix, numbered({"Content-Type": "text/css"}))
    assert [proxy.get(path + suffix).body for _ in range(2)] == [b"answer 1", b"answer 2"]


def test_set_cookie_is_stored_where_the_site_allows_and_the_origin_says_public(make_outrigger, origin):
    outrigger = make_outrigger(origin=origin.url, site={"cache": {"store_set_cookie": True}})
    origin.on("/public", numbered({"Cache-Control": "public, max-age=60", "Set-Cookie": "a=b"})).on("/plain", numbered({**FRESH, "Set-Cookie": "a=b"}))
    outrigger.get("/public"), outrigger.get("/plain")
    assert outrigger.get("/public").get("set-cookie") == "a=b" and origin.count("/public") == 1
    assert outrigger.get("/plain").body == b"answer 2"


def test_a_client_may_demand_where_the_site_honours_it(make_outrigger, origin):
    outrigger = make_outrigger(origin=origin.url, site={"cache": {"honour_request_directives": True}})
    origin.on("/page", numbered({**FRESH, **ETAG}))
    assert outrigger.get("/page", fields={"Cache-Control": "only-if-cached"}).status == 504
    assert origin.count() == 0
    outrigger.get("/page")
    assert outrigger.get("/page", fields={"Cache-Control": "only-if-cached"}).body == b"answer 1"
    response = outrigger.get("/page", fields={"Cache-Control": "no-cache"})
    assert response.body == b"answer 2" and status_of(response)["fwd"] == "request" and status_of(response)["detail"] == "request-no-cache"
    assert outrigger.get("/page").body == b"answer 2"


def test_the_words_in_the_log(make_outrigger, origin):
    outrigger = make_outrigger(origin=origin.url, site={"cache": {"grace": "1h"}}, config={"workers": 1})
    origin.on("/page", numbered(FRESH)).on("/private", numbered({"Cache-Control": "private"})).on("/old", numbered({**STALE, **ETAG}))
    outrigger.get("/page"), outrigger.get("/page"), outrigger.get("/private"), outrigger.get("/page", method="POST"), outrigger.get("/old")
    origin.on("/old", lambda request: request.answer(status="304 Not Modified", fields={**STALE, **ETAG}, length=False))
    outrigger.get("/old")
    origin.on("/old", lambda request: request.send(b"nonsense\r\n\r\n"))
    outrigger.get("/old")
    origin.on("/old", numbered(FRESH))
    outrigger.get("/old")
    words = [re.search(r'" (HIT|MISS|EXPIRED|STALE|UPDATING|REVALIDATED|BYPASS|-) (\S+) ', line).groups() for line in outrigger.await_access_lines(8)]
    assert [w[0] for w in words] == ["MISS", "HIT", "MISS", "BYPASS", "MISS", "REVALIDATED", "STALE", "EXPIRED"]
    assert words[2][1] == "private" and words[3][1] == "method" and words[6][1] == "origin-bad-response"


# Variants

def test_each_variant_is_stored_and_found(proxy, back, path):
    back.on(path, lambda request: request.answer(f"{request.get('accept-language')}/{request.get('x-kind')}", fields={**FRESH, "Vary": "Accept-Language, X-Kind"}))
    wanted = [("de", "a"), ("en", "a"), ("de", "b"), ("en", None), (None, None), (None, "")]
    for _ in range(2):
        for language, kind in wanted:
            fields = {name: value for name, value in (("Accept-Language", language), ("X-Kind", kind)) if value is not None}
            response = proxy.get(path, fields=fields)
            assert response.body == f"{language}/{kind}".encode()
    assert back.count(path) == len(wanted)
    assert status_of(proxy.get(path, fields={"Accept-Language": "fr"}))["fwd"] == "vary-miss"


def test_spellings_of_accept_encoding_share_a_variant(proxy, back, path):
    back.on(path, numbered({**FRESH, "Vary": "accept-encoding"}))
    for spelling in ("gzip, br", "br,gzip", "BR , gzip;q=1.0"):
        assert proxy.get(path, fields={"Accept-Encoding": spelling}).body == b"answer 1"
    assert proxy.get(path, fields={"Accept-Encoding": "gzip"}).body == b"answer 2"


def test_a_response_that_begins_to_vary_does_not_answer_for_the_others(proxy, back, path):
    back.on(path, lambda request: request.answer("plain", fields={**STALE, **ETAG}))
    proxy.get(path)
    back.on(path, lambda request: request.answer(request.get("x-kind") or "none", fields={**FRESH, "Vary": "X-Kind"}))
    for kind in ("a", "b", "a"):
        assert proxy.get(path, fields={"X-Kind": kind}).body == kind.encode()


def test_variants_of_a_url_are_capped(make_outrigger, origin):
    origin.on("/page", lambda request: request.answer(request.get("x-kind"), fields={**FRESH, "Vary": "X-Kind"}))
    outrigger = make_outrigger(origin=origin.url, config={"cache": {"variants": 4}})
    for n in range(100):
        assert outrigger.get("/page", fields={"X-Kind": str(n)}).body == str(n).encode()
    before = origin.count()
    for n in range(100):
        assert outrigger.get("/page", fields={"X-Kind": str(n)}).body == str(n).encode()
    assert origin.count() - before >= 96


# Conditions, HEAD, ranges

def test_a_condition_that_holds_gets_304_from_the_cache(proxy, back, path):
    back.on(path, numbered({**FRESH, **ETAG, "Last-Modified": OLD_DATE, "Vary": "X", "Content-Type": "text/plain", "X-Other": "y"}))
    proxy.get(path)
    with proxy.connect() as client:
        for condition in ({"If-None-Match": '"v1"'}, {"If-None-Match": 'W/"v1"'}, {"If-None-Match": '"v0", "v1"'}, {"If-None-Match": "*"}, {"If-Modified-Since": OLD_DATE},
                          {"If-Modified-Since": "Wed, 02 Jul 2025 10:00:00 GMT"}, {"If-None-Match": '"v1"', "If-Modified-Since": "Mon, 30 Jun 2025 10:00:00 GMT"}):
            response = client.request(path, fields=condition)
            assert response.status == 304 and "hit" in status_of(response), condition
            assert response.get("etag") == '"v1"' and response.get("cache-control") == "max-age=60" and response.get("vary") == "X" and response.get("date")
            assert response.get("content-length") in (None, "8") and response.get("x-other") is None
        for condition in ({"If-None-Match": '"v2"'}, {"If-None-Match": '"v2"', "If-Modified-Since": OLD_DATE}, {"If-Modified-Since": "Mon, 30 Jun 2025 10:00:00 GMT"},
                          {"If-Modified-Since": "nonsense"}, {"If-None-Match": "v1"}):
            assert client.request(path, fields=condition).status == 200, condition
        assert client.request(path, fields={"If-Match": '"v2"'}).status == 412
        assert client.request(path, fields={"If-Match": '"v1"'}).status == 200
        assert client.request(path, method="HEAD", fields={"If-None-Match": '"v1"'}).status == 304
    assert back.count(path) == 1


def test_a_conditional_miss_is_fetched_whole_and_judged_here(proxy, back, path):
    back.on(path, numbered({**FRESH, **ETAG}))
    response = proxy.get(path, fields={"If-None-Match": '"v1"', "If-Modified-Since": OLD_DATE, "Range": "bytes=0-0"})
    assert response.status == 304
    assert not back.last(path).names() & {"if-none-match", "if-modified-since"} and back.last(path).get("range") == "bytes=0-4194303"
    assert proxy.get(path).body == b"answer 1" and back.count(path) == 1


def test_head_is_answered_from_a_stored_get(proxy, back, path):
    back.on(path, numbered({**FRESH, **ETAG}))
    proxy.get(path)
    with proxy.connect() as client:
        response = client.request(path, method="HEAD")
        assert (response.status, response.get("content-length"), response.get("etag")) == (200, "8", '"v1"') and "hit" in status_of(response)
        assert client.request(path).body == b"answer 1"
    assert back.count(path) == 1


def test_a_head_that_misses_stores_nothing(proxy, back, path):
    back.on(path, numbered(FRESH))
    response = proxy.get(path, method="HEAD")
    assert response.status == 200 and status_of(response)["detail"] == "head-miss"
    assert proxy.get(path).body == b"answer 2"
    assert [r.method for r in back.requests if r.target == path] == ["HEAD", "GET"]


BODY = bytes(range(256)) * 100
LENGTH = len(BODY)


@pytest.fixture(scope="module")
def ranged(proxy, back):
    """A connection and the path of something stored."""
    back.on("/ranged", lambda request: request.answer(BODY, fields={**FRESH, **ETAG, "Date": formatdate(usegmt=True), "Last-Modified": OLD_DATE, "Content-Type": "x/y"}))
    assert proxy.get("/ranged").body == BODY
    with proxy.connect() as client:
        yield client
    assert back.count("/ranged") == 1


@pytest.mark.parametrize("field, first, end", [("bytes=0-0", 0, 1), ("bytes=0-99", 0, 100), ("bytes=100-199", 100, 200), ("bytes=25599-", LENGTH - 1, LENGTH), ("bytes=20000-", 20000, LENGTH),
                                               ("bytes=20000-99999999", 20000, LENGTH), ("bytes=-1", LENGTH - 1, LENGTH), ("bytes=-1000", LENGTH - 1000, LENGTH), ("bytes=-99999", 0, LENGTH),
                                               ("BYTES=5-9", 5, 10), ("bytes=0-18446744073709551616", 0, LENGTH), ("bytes=0-9,5-20", 0, 21)])
def test_one_range_is_answered_from_the_cache(ranged, field, first, end):
    response = ranged.request("/ranged", fields={"Range": field})
    assert response.status == 206 and response.body == BODY[first:end]
    assert response.get("content-range") == f"bytes {first}-{end - 1}/{LENGTH}" and response.get("content-length") == str(end - first)
    assert response.get("content-type") == "x/y" and "hit" in status_of(response)


@pytest.mark.parametrize("field", ["bytes=25600-", "bytes=99999-100000", "bytes=-0"])
def test_an_unsatisfiable_range_is_416(ranged, field):
    response = ranged.request("/ranged", fields={"Range": field})
    assert (response.status, response.get("content-range"), response.body) == (416, f"bytes */{LENGTH}", b"")


@pytest.mark.parametrize("field", ["bytes=5-4", "bytes=a-b", "bytes=", "bytes", "lines=0-1", "bytes=0-1-2", "bytes=1", "bytes=" + ",".join(f"{n}000-{n}001" for n in range(25))])
def test_what_is_no_range_gets_the_whole(ranged, field):
    response = ranged.request("/ranged", fields={"Range": field})
    assert response.status == 200 and response.body == BODY


@pytest.mark.parametrize("value, status", [('"v1"', 206), ('"v2"', 200), ('W/"v1"', 200), (OLD_DATE, 206), ("Wed, 02 Jul 2025 10:00:00 GMT", 200), ("nonsense", 200)])
def test_if_range_decides_between_the_part_and_the_whole(ranged, value, status):
    response = ranged.request("/ranged", fields={"Range": "bytes=1-2", "If-Range": value})
    assert response.status == status and response.body == (BODY[1:3] if status == 206 else BODY)


def test_a_range_of_head_is_ignored(ranged):
    response = ranged.request("/ranged", method="HEAD", fields={"Range": "bytes=1-2"})
    assert (response.status, response.get("content-length")) == (200, str(LENGTH))


def test_a_range_that_misses_fetches_the_whole_once(proxy, back, path):
    back.on(path, lambda request: request.answer(BODY, fields=FRESH))
    for field, part in (("bytes=0-0", BODY[:1]), ("bytes=-1", BODY[-1:]), ("bytes=500-599", BODY[500:600])):
        response = proxy.get(path, fields={"Range": field})
        assert response.status == 206 and response.body == part
    assert back.count(path) == 1 and back.last(path).get("range") == "bytes=0-4194303"


def test_a_partial_response_of_the_origin_is_not_stored_as_the_whole(proxy, back, path):
    back.on(path, lambda request: request.answer("part", "206 Partial Content", {**FRESH, "Content-Range": "bytes 0-3/100"}))
    assert "stored" not in status_of(proxy.get(path, fields={"Range": "bytes=0-3"}))
    back.on(path, numbered(FRESH))
    assert proxy.get(path).body == b"answer 1"


# Stale

def test_a_stale_response_is_validated_and_kept(proxy, back, path):
    back.on(path, numbered({**STALE, **ETAG, "Last-Modified": OLD_DATE, "X-Old": "1", "X-Both": "1"}))
    proxy.get(path)
    back.on(path, lambda request: request.answer(status="304 Not Modified", fields={**FRESH, **ETAG, "X-Both": "2"}, length=False))
    response = proxy.get(path)
    seen = back.last(path)
    assert (seen.get("if-none-match"), seen.get("if-modified-since")) == ('"v1"', OLD_DATE)
    assert (response.status, response.body) == (200, b"answer 1")
    assert status_of(response)["fwd"] == "stale" and status_of(response)["fwd-status"] == "304"
    hit = proxy.get(path)
    assert hit.body == b"answer 1" and "hit" in status_of(hit) and int(hit.get("age")) < 10
    assert (hit.get("x-old"), hit.get("x-both")) == ("1", "2")
    assert back.count(path) == 2


def test_a_stale_response_is_replaced_by_a_new_one(proxy, back, path):
    back.on(path, numbered({**STALE, **ETAG}))
    proxy.get(path)
    back.on(path, lambda request: request.answer("new", fields={**FRESH, "ETag": '"v2"'}))
    response = proxy.get(path)
    assert response.body == b"new" and status_of(response) == {"fwd": "stale", "fwd-status": "200", "stored": True, "detail": "expired"}
    hit = proxy.get(path)
    assert hit.body == b"new" and "hit" in status_of(hit) and hit.get("etag") == '"v2"'
    assert back.count(path) == 2


def test_no_cache_is_validated_each_time(proxy, back, path):
    back.on(path, numbered({"Cache-Control": "no-cache", **ETAG}))
    proxy.get(path)
    back.on(path, lambda request: request.answer(status="304 Not Modified", fields={"Cache-Control": "no-cache", **ETAG}, length=False))
    for n in range(2, 5):
        response = proxy.get(path)
        assert response.body == b"answer 1" and status_of(response)["detail"] == "no-cache"
        assert back.count(path) == n and back.last(path).get("if-none-match") == '"v1"'


def test_a_client_with_the_same_validator_gets_304_from_a_validation(proxy, back, path):
    back.on(path, numbered({**STALE, **ETAG}))
    proxy.get(path)
    back.on(path, lambda request: request.answer(status="304 Not Modified", fields={**FRESH, **ETAG}, length=False))
    response = proxy.get(path, fields={"If-None-Match": '"v1"'})
    assert response.status == 304 and back.count(path) == 2


def test_a_client_with_another_validator_gets_the_whole_from_a_validation(proxy, back, path):
    back.on(path, numbered({**STALE, **ETAG}))
    proxy.get(path)
    back.on(path, lambda request: request.answer(status="304 Not Modified", fields={**FRESH, **ETAG}, length=False))
    response = proxy.get(path, fields={"If-None-Match": '"v0"'})
    assert (response.status, response.body) == (200, b"answer 1")
    assert back.last(path).get("if-none-match") == '"v1"', "ours, not the client's"


def test_stale_while_revalidate_answers_at_once_and_asks_once(proxy, back, path):
    go = threading.Event()
    back.on(path, numbered({"Cache-Control": "max-age=60, stale-while-revalidate=1000", "Age": "100", **ETAG}))
    proxy.get(path)
    back.on(path, lambda request: (go.wait(60), request.answer("new", fields={**FRESH, "ETag": '"v2"'})))
    for _ in range(20):
        response = proxy.get(path)
        assert response.body == b"answer 1", "while the origin is silent"
        assert status_of(response)["detail"] == "stale-while-revalidate" and int(status_of(response)["ttl"]) <= -40
    until(lambda: back.count(path) == 2, what="the revalidation")
    go.set()
    until(lambda: proxy.get(path).body == b"new", what="the new response")
    assert back.count(path) == 2 and back.last(path).get("if-none-match") == '"v1"'


def trouble(kind):
    def answer(request):
        if kind == "error":
            request.answer("trouble", "503 Service Unavailable")
        elif kind == "nonsense":
            request.send(b"nonsense\r\n\r\n")
        raise Truncated
    return answer


@pytest.mark.parametrize("kind", ["closed", "error", "nonsense"])
@pytest.mark.parametrize("permission", ["grace", "stale-if-error"])
def test_a_stale_response_answers_when_the_origin_is_in_trouble(make_outrigger, origin, kind, permission):
    outrigger = make_outrigger(origin=origin.url, site={"cache": {"grace": "1h" if permission == "grace" else 0}, "down": 0})
    control = "max-age=60" + (", stale-if-error=1000" if permission != "grace" else "")
    origin.on("/page", numbered({"Cache-Control": control, "Age": "100", **ETAG}))
    outrigger.get("/page")
    origin.on("/page", trouble(kind))
    for _ in range(2):
        response = outrigger.get("/page")
        assert (response.status, response.body) == (200, b"answer 1"), response
        assert status_of(response) == {"fwd": "stale", "detail": "stale-if-error"}
        assert int(response.get("age")) >= 100
    origin.on("/page", numbered({**FRESH}))
    assert outrigger.get("/page").body == b"answer 1" and "hit" in status_of(outrigger.get("/page"))


@pytest.mark.parametrize("control, grace", [("max-age=60", 0), ("max-age=60, must-revalidate", "1h"), ("max-age=60, proxy-revalidate", "1h"), ("s-maxage=60", "1h"),
                                            ("max-age=60, stale-if-error=10", "1h"), ("no-cache", "1h")])
def test_a_stale_response_is_not_used_where_that_is_forbidden(make_outrigger, origin, control, grace):
    outrigger = make_outrigger(origin=origin.url, site={"cache": {"grace": grace}, "down": 0})
    origin.on("/page", numbered({"Cache-Control": control, "Age": "100", **ETAG}))
    outrigger.get("/page")
    origin.on("/page", trouble("closed"))
    assert outrigger.get("/page").status in (502, 504)


def test_an_error_does_not_replace_what_is_stored(make_outrigger, origin):
    outrigger = make_outrigger(origin=origin.url, site={"cache": {"grace": "1h"}, "down": 0})
    origin.on("/page", numbered({**STALE, **ETAG}))
    outrigger.get("/page")
    origin.on("/page", lambda request: request.answer("trouble", "500 Internal Server Error", FRESH))
    assert outrigger.get("/page").body == b"answer 1"
    assert outrigger.get("/page").body == b"answer 1", "the error was not stored in its place"


# Removal

@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "FROB"])
def test_an_unsafe_request_that_succeeds_invalidates(proxy, back, path, method):
    answer = numbered({**FRESH, "Vary": "X-Kind"})
    back.on(path, lambda request: answer(request) if request.method == "GET" else request.answer(status=status))
    for status, expected in (("500 Internal Server Error", b"answer 1"), ("404 Not Found", b"answer 1"), ("200 OK", b"answer 3"), ("303 See Other", b"answer 5")):
        proxy.get(path), proxy.get(path, fields={"X-Kind": "b"})
        proxy.get(path, method=method, body=b"x")
        assert proxy.get(path).body == expected
        proxy.get(path, fields={"X-Kind": "b"})


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PROPFIND", "HEAD"])
def test_a_safe_request_does_not_invalidate(proxy, back, path, method):
    back.on(path, numbered(FRESH))
    proxy.get(path), proxy.get(path, method=method)
    assert proxy.get(path).body == b"answer 1"


def test_purge_removes_every_variant_at_once(proxy, back, path):
    back.on(path, numbered({**FRESH, "Vary": "X-Kind"})).on(path + "?other", numbered(FRESH))
    kinds = [{"X-Kind": str(n)} for n in range(10)]
    bodies = [proxy.get(path, fields=kind).body for kind in kinds]
    assert bodies == [proxy.get(path, fields=kind).body for kind in kinds]
    proxy.get(path + "?other")
    with proxy.connect() as client:
        response = client.request(path, method="PURGE")
        assert response.status == 200 and b"true" in response.body
        assert b"false" in client.request(path, method="PURGE").body
    assert not set(bodies) & {proxy.get(path, fields=kind).body for kind in kinds}
    assert back.count(path) == 20
    assert "hit" in status_of(proxy.get(path + "?other"))


def test_what_is_purged_while_it_is_fetched_is_not_kept(proxy, back, path):
    go = threading.Event()
    back.on(path, lambda request: (request.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 8\r\n\r\nolda"), go.wait(60), request.send(b"nswr")))
    with proxy.connect() as client:
        client.send(f"GET {path} HTTP/1.1\r\n{HOST}\r\n")
        assert client.head().status == 200
        proxy.get(path, method="PURGE")
        back.on(path, numbered(FRESH))
        assert proxy.get(path).body == b"answer 1"
        go.set()
        assert client.read_exactly(8) == b"oldanswr", "who was being answered is answered to the end"
    assert proxy.get(path).body == b"answer 1"


@pytest.mark.threads
def test_eviction_in_a_small_memory_serves_right_bytes(make_outrigger, origin):
    origin.on("*", lambda request: request.answer(body_of(request.target), fields=FRESH))
    outrigger = make_outrigger(origin=origin.url, config={"cache": {"memory": "4MiB"}})
    failures = []

    def ask(seed):
        try:
            with outrigger.connect() as client:
                for n in range(500):
                    target = f"/{(n * (seed * 2 + 1) * 7919) % 600 if n % 3 else n % 10}"
                    if client.request(target).body != body_of(target):
                        failures.append(target)
        except Exception as failure:
            failures.append(repr(failure))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert failures == []
    assert outrigger.metric("outrigger_cache_evictions_total") > 0
    assert origin.count() < 2000, "some were hits"


def test_a_response_over_object_max_is_passed(make_outrigger, origin):
    size = 300000
    origin.on("/length", lambda request: request.answer(body_of("/length", size), fields=FRESH))
    origin.on("/chunked", lambda request: request.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % size + body_of("/chunked", size) + b"\r\n0\r\n\r\n"))
    origin.on("/small", lambda request: request.answer(body_of("/small", 60000), fields=FRESH))
    outrigger = make_outrigger(origin=origin.url, config={"cache": {"object_max": "100KiB"}})
    for n in range(1, 3):
        for target in ("/length", "/chunked"):
            response = outrigger.get(target)
            assert response.complete and response.body == body_of(target, size)
            assert origin.count(target) == n
        assert outrigger.get("/small").body == body_of("/small", 60000) and origin.count("/small") == 1
    assert status_of(outrigger.get("/length"))["detail"] == "too-large"


def test_a_response_larger_than_the_memory_is_passed(make_outrigger, origin):
    size = 6 << 20
    origin.on("/big", lambda request: request.answer(body_of("/big", size), fields=FRESH))
    outrigger = make_outrigger(origin=origin.url, config={"cache": {"memory": "4MiB"}})
    for n in range(1, 3):
        assert outrigger.get("/big").body == body_of("/big", size) and origin.count("/big") == n


@pytest.mark.threads
def test_purges_under_load_never_mix_answers(make_outrigger, origin):
    """Four clients ask, one purges and one posts; every answer is whole and of its own URL, and none is older than a purge that was answered before it was asked."""
    version = [0]

    def answer(request):
        now = version[0]
        request.answer(body_of(f"{request.target} {now}", 5000), fields={**FRESH, "X-Version": str(now)})

    origin.on("*", answer)
    outrigger = make_outrigger(origin=origin.url)
    failures, stopping = [], threading.Event()

    def ask(seed):
        try:
            with outrigger.connect() as client:
                n = seed
                while not stopping.is_set():
                    n += 1
                    oldest = version[0]
                    response = client.request(f"/{n % 3}")
                    got = int(response.get("x-version"))
                    if response.body != body_of(f"/{n % 3} {got}", 5000) or got < oldest - 1:
                        failures.append((n, got, oldest))
        except Exception as failure:
            failures.append(repr(failure))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    [thread.start() for thread in threads]
    with outrigger.connect() as client:
        for n in range(100):
            version[0] += 1
            for target in range(3):
                assert client.request(f"/{target}", method="PURGE" if n % 2 else "POST").status == 200
            assert int(client.request(f"/{n % 3}").get("x-version")) == version[0]
    stopping.set()
    [thread.join() for thread in threads]
    assert failures == []
