"""outriggerctl why: what is stored of a URL, how fresh it is, and what the next request would get, told without asking the origin."""
import json
import re
import threading

import pytest

from harness.poll import until
from test_memory_cache import ETAG, FRESH, STALE, numbered, status_of
from test_slices import Ranger, ask, hits


def why(proxy, path, *fields, host="site.test"):
    arguments = [argument for field in fields for argument in ("-H", field)]
    return json.loads(proxy.ctl("--json", "why", f"http://{host}{path}", *arguments).stdout)


def lines(proxy, path, *fields):
    arguments = [argument for field in fields for argument in ("-H", field)]
    return proxy.ctl("why", f"http://site.test{path}", *arguments).stdout


def test_nothing_is_stored(proxy, back, path):
    told = why(proxy, path + "?x=1")
    assert (told["outcome"], told["fwd"], told["detail"], told["responses"]) == ("miss", "uri-miss", None, [])
    assert told["key"] == f"http://site.test{path}?x=1" and re.fullmatch("[0-9a-f]{16}", told["key_hash"]) and told["site"] == "*"
    assert "nothing is stored under this key" in lines(proxy, path)
    assert back.count(path) == 0


def test_a_fresh_response_with_its_arithmetic(proxy, back, path):
    back.on(path, numbered({"Cache-Control": "max-age=60, stale-if-error=30", "Age": "20", **ETAG, "Surrogate-Key": "one two", "Cache-Tag": "three"}))
    proxy.get(path), proxy.get(path)
    told = why(proxy, path)
    assert (told["outcome"], told["fwd"], told["detail"]) == ("hit", None, None)
    (stored,) = told["responses"]
    assert (stored["status"], stored["lifetime"], stored["lifetime_source"], stored["initial_age"]) == (200, 60, "max-age", 20)
    assert 20 <= stored["age"] <= 25 and stored["ttl"] == 60 - stored["age"]
    assert (stored["etag"], stored["tags"], stored["tier"], stored["hits"], stored["body_bytes"]) == ('"v1"', ["one", "two", "three"], "memory", 1, 8)
    text = lines(proxy, path)
    for expected in ("The next such request is answered from the cache.", "Freshness lifetime 60 s: from max-age.", "20 s old on arrival", "Fresh for another",
                     "when the origin fails", 'ETag: "v1"', "Tags: one two three", "status 200, 8 bytes of body, in memory, 1 of 3 hits lately"):
        assert expected in text, text
    assert back.count(path) == 1
    assert why(proxy, path)["responses"][0]["hits"] == 1, "asking why is no hit"


@pytest.mark.parametrize("fields, source", [
    ({"Cache-Control": "s-maxage=60, max-age=1"}, "s-maxage"),
    ({"Expires": "Fri, 01 Jan 2100 00:00:00 GMT"}, "Expires"),
    ({"Last-Modified": "Tue, 01 Jul 2025 10:00:00 GMT"}, "heuristic"),
])
def test_what_gave_the_lifetime(proxy, back, path, fields, source):
    back.on(path, numbered(fields))
    proxy.get(path)
    assert why(proxy, path)["responses"][0]["lifetime_source"] == source


def test_a_stale_response(proxy, back, path):
    back.on(path, numbered({**STALE, **ETAG}))
    proxy.get(path)
    told = why(proxy, path)
    assert (told["outcome"], told["fwd"], told["detail"]) == ("revalidate", "stale", "expired")
    assert "Why: expired: " in lines(proxy, path) and "Stale for 4" in lines(proxy, path)
    response = proxy.get(path)
    assert status_of(response)["fwd"] == told["fwd"] and status_of(response)["detail"] == told["detail"], "and so it is"


def test_variants_and_which_is_selected(proxy, back, path):
    back.on(path, lambda r: r.answer(r.get("x-kind", "none"), fields={**FRESH, "Vary": "X-Kind, Accept-Encoding"}))
    for kind in "ab":
        proxy.get(path, fields={"X-Kind": kind, "Accept-Encoding": "br, gzip"})
    told = why(proxy, path, "X-Kind: a", "Accept-Encoding: gzip,br")
    assert told["vary"] == ["accept-encoding", "x-kind"] and told["outcome"] == "hit"
    assert sorted((r["vary"]["x-kind"], r["selected"]) for r in told["responses"]) == [("a", True), ("b", False)]
    told = why(proxy, path, "X-Kind: c")
    assert (told["outcome"], told["fwd"]) == ("miss", "vary-miss") and not any(r["selected"] for r in told["responses"])
    assert 'Selected (accept-encoding "br,gzip", x-kind "a")' in lines(proxy, path, "X-Kind: a", "Accept-Encoding: gzip, br")
    assert back.count(path) == 2


def test_requests_that_pass(proxy, back, path):
    told = why(proxy, path, "Content-Length: 5")
    assert (told["outcome"], told["fwd"], told["detail"]) == ("pass", "bypass", "request-body")
    back.on(path, numbered({"Cache-Control": "private"}))
    proxy.get(path)
    assert (why(proxy, path)["outcome"], why(proxy, path)["detail"]) == ("pass", "hit-for-miss")


def test_purges_show(proxy, back, path):
    back.on(path, numbered({"Cache-Control": "max-age=60, stale-while-revalidate=60", "xkey": path}))
    proxy.get(path)
    proxy.ctl("purge", "--soft", "--tag", path)
    told = why(proxy, path)
    assert (told["outcome"], told["detail"]) == ("stale", "stale-while-revalidate") and "Softly purged" in lines(proxy, path)
    proxy.ctl("purge", "--tag", path)
    told = why(proxy, path)
    assert told["outcome"] == "miss" and told["responses"][0]["purged"] is True


def test_what_is_being_fetched(proxy, back, path):
    arrived, go = threading.Event(), threading.Event()

    def slow(request):
        arrived.set()
        go.wait(20)
        request.answer(b"late", fields=FRESH)

    back.on(path, slow)
    with proxy.connect() as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: site.test\r\n\r\n")
        arrived.wait(20)
        told = why(proxy, path)
        go.set()
        assert client.response().body == b"late"
    assert told["outcome"] == "miss" and told["joined"] is True


def test_what_answers_an_equivalent_url(proxy, back, path):
    back.on(path, numbered({**FRESH, "No-Vary-Search": 'params=("ref")'}))
    proxy.get(path + "?a=1&ref=x")
    told = why(proxy, path + "?ref=y&a=1")
    assert (told["outcome"], told["stored_under"], len(told["responses"])) == ("hit", f"http://site.test{path}?a=1&ref=x", 1)
    assert f"the response of http://site.test{path}?a=1&ref=x says that it answers this URL too" in lines(proxy, path + "?ref=y&a=1")
    assert why(proxy, path + "?a=1&ref=x")["stored_under"] is None and why(proxy, path + "?a=2")["outcome"] == "miss"
    assert "hit" in status_of(proxy.get(path + "?ref=y&a=1")), "and so it is"


def test_slices(make_outrigger, origin):
    ranger = Ranger()
    origin.on("/large", ranger)
    outrigger = make_outrigger(origin=origin.url, site={"cache": {"slice": "64KiB"}})
    ask(outrigger, "/large", 0, 70000)
    ask(outrigger, "/large", 999999, 999999)
    hits(outrigger, "/large", 0, 70000)
    told = why(outrigger, "/large", "Range: bytes=5-100000")
    assert (told["outcome"], told["fwd"]) == ("hit", None)
    assert told["responses"][0]["slices"] == [[0, 65535], [65536, 131071], [983040, 999999]] and told["responses"][0]["body_bytes"] == 1000000
    assert "In slices, of which 3 are stored: bytes 0-131071, 983040-999999." in lines(outrigger, "/large")
    assert (why(outrigger, "/large")["outcome"], why(outrigger, "/large")["fwd"]) == ("partial", "partial")
    assert len(ranger.asked) == 3


def test_slices_of_what_is_said_to_be_larger_than_any_disk(make_outrigger, origin, tmp_path):
    """Whoever asks gets an answer, and the loop that gives it has others to give."""
    def answer(request):
        request.answer(b"s" * 65536, "206 Partial Content", {"Content-Range": f"bytes 0-65535/{2**63 - 1}", "ETag": '"x"', "Cache-Control": "max-age=60"})

    origin.on("/endless", answer)
    outrigger = make_outrigger(origin=origin.url, config={"cache": {"disk": [{"path": str(tmp_path / "disk"), "size": "16MiB"}]}}, site={"cache": {"slice": "64KiB"}})
    assert outrigger.get("/endless", fields={"Range": "bytes=0-9"}).body == b"s" * 10
    until(lambda: why(outrigger, "/endless")["responses"][0]["slices"] == [[0, 65535]], what="the slice")


def test_what_strangers_wrote_does_not_talk_to_the_terminal(proxy, back, path):
    """A client's field that selects a variant, and an origin's tag: ISO 6429's CSI is one character, U+009B."""
    back.on(path, lambda request: request.answer("page", fields={"Cache-Control": "max-age=60", "Vary": "User-Agent", "Surrogate-Key": "a\xc2\x9b1m"}))
    proxy.get(path, fields={"User-Agent": "b\xc2\x9b2m"})
    text = proxy.ctl("why", f"http://site.test{path}").stdout
    assert "\x9b" not in text and r'"b\xc2\x9b2m"' in text and r"a\xc2\x9b1m" in text


def test_why_refuses_what_it_cannot_tell(make_outrigger, origin):
    outrigger = make_outrigger(origin=origin.url, site={"hosts": ["site.test"]})
    for arguments, status, word in ((["http://nowhere.test/"], 1, "no site"), (["/path"], 1, "absolute URL"), (["http://site.test/", "-H", "no field"], 1, "header="), ([], 2, "--help"),
                                    (["http://site.test/", "--soft"], 2, "--help"), (["http://site.test/", "http://b/"], 2, "--help")):
        done = outrigger.ctl("why", *arguments, check=False)
        assert done.returncode == status and word in done.stderr, arguments
    assert outrigger.ctl("stats", "-H", "A: b", check=False).returncode == 2


def test_the_key_is_told_to_those_who_may_see_it(make_outrigger, origin):
    outrigger = make_outrigger(origin=origin.url, site={"cache": {"show_key": ["127.0.0.1"]}})
    hidden = make_outrigger(origin=origin.url, site={"cache": {"show_key": ["10.0.0.0/8"]}})
    origin.on("*", numbered(FRESH))
    long = "/" + "x" * 3000
    for target, key in (("/a?b=c", "/a?b=c"), ('/q"\\', '/q\\"\\\\'), (long, long)):
        for _ in range(2):
            assert outrigger.get(target).get("cache-status").endswith(f'; key="http://site.test{key}"'), target
            assert "key" not in hidden.get(target).get("cache-status")
