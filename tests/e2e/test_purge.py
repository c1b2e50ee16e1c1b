"""Purges: by URL, by tag, by host, of everything; hard and soft; by HTTP, by outriggerctl and by what an unsafe request's response says."""
import itertools
import json
import threading

import pytest

from harness.poll import until
from test_memory_cache import ETAG, FRESH, body_of, numbered, status_of

TAG_FIELDS = {
    "Surrogate-Key": "other {} more",
    "Cache-Tag": "other, {} ,more",
    "xkey": "{}",
    "Cache-Groups": '"other", "{}";x=1',
}
numbers = itertools.count(1)


@pytest.fixture
def tag():
    """A tag that no other test uses."""
    return f"tag{next(numbers)}"


def is_hit(response):
    return "hit" in status_of(response)


def url(proxy, path, host="site.test"):
    return f"http://{host}{path}"


# By tag

@pytest.mark.parametrize("field", TAG_FIELDS)
def test_purge_by_tag_removes_every_response_that_has_it(proxy, back, path, tag, field):
    for n in range(3):
        back.on(f"{path}/{n}", numbered({**FRESH, field: TAG_FIELDS[field].format(tag if n < 2 else tag + "x")}))
        proxy.get(f"{path}/{n}")
    answer = json.loads(proxy.ctl("--json", "purge", "--tag", tag).stdout)
    assert answer == {"purged": True, "by": "tag", "tags": 1, "soft": False}
    assert [proxy.get(f"{path}/{n}").body for n in range(3)] == [b"answer 2", b"answer 2", b"answer 1"]
    assert [is_hit(proxy.get(f"{path}/{n}")) for n in range(3)] == [True] * 3


@pytest.mark.parametrize("field", ["Surrogate-Key", "Cache-Tag", "xkey"])
def test_purge_method_names_tags_in_fields(proxy, back, path, tag, field):
    back.on(path, numbered({**FRESH, "Surrogate-Key": tag})).on(path + "/url", numbered(FRESH))
    proxy.get(path), proxy.get(path + "/url")
    separator = ", " if field == "Cache-Tag" else " "
    answer = proxy.get(path + "/url", method="PURGE", fields={field: f"none{separator}{tag}"})
    assert answer.status == 200 and answer.get("content-type") == "application/json"
    assert json.loads(answer.body) == {"purged": True, "by": "tag", "tags": 2, "soft": False}
    assert proxy.get(path).body == b"answer 2"
    assert proxy.get(path + "/url").body == b"answer 1", "a PURGE that names tags is not one of its URL"


def test_purge_by_tag_is_for_allowed_addresses_only(make_outrigger, origin):
    refusing = make_outrigger(origin=origin.url, site={"purge": {"allow": []}})
    origin.on("/page", numbered({**FRESH, "xkey": "t"}))
    refusing.get("/page")
    assert refusing.get("/page", method="PURGE", fields={"xkey": "t"}).status == 403
    assert refusing.get("/page").body == b"answer 1"


def test_purge_by_tag_of_one_variant(proxy, back, path, tag):
    back.on(path, lambda r: r.answer(f"{r.get('x-kind')} {back.count(path)}", fields={**FRESH, "Vary": "X-Kind", "xkey": f"{tag}-{r.get('x-kind')}"}))
    before = [proxy.get(path, fields={"X-Kind": kind}).body for kind in "ab"]
    proxy.ctl("purge", "--tag", tag + "-a")
    after = [proxy.get(path, fields={"X-Kind": kind}).body for kind in "ab"]
    assert after[0] != before[0] and after[1] == before[1]


def test_several_tags_at_once_and_what_is_stored_afterwards_stays(proxy, back, path, tag):
    for n in range(3):
        back.on(f"{path}/{n}", numbered({**FRESH, "Surrogate-Key": f"{tag}-{n}"}))
        proxy.get(f"{path}/{n}")
    proxy.ctl("purge", "--tag", tag + "-0", "--tag", tag + "-2")
    assert [proxy.get(f"{path}/{n}").body for n in range(3)] == [b"answer 2", b"answer 1", b"answer 2"]
    proxy.ctl("purge", "--tag", "unrelated")
    assert all(is_hit(proxy.get(f"{path}/{n}")) for n in range(3))


def test_tags_that_a_validation_brings_count(proxy, back, path, tag):
    back.on(path, numbered({"Cache-Control": "max-age=60", "Age": "100", **ETAG, "Surrogate-Key": tag + "-old"}))
    proxy.get(path)
    back.on(path, lambda r: r.answer(status="304 Not Modified", fields={**FRESH, **ETAG, "Surrogate-Key": tag + "-new"}, length=False))
    assert proxy.get(path).body == b"answer 1"
    back.on(path, b"fetched")
    proxy.ctl("purge", "--tag", tag + "-old")
    assert proxy.get(path).body == b"answer 1"
    proxy.ctl("purge", "--tag", tag + "-new")
    assert proxy.get(path).body == b"fetched"


# What clients see

def test_tags_are_for_the_cache_and_groups_for_everybody(proxy, back, path, tag):
    fields = [("Surrogate-Key", tag), ("X-One", "1"), ("Cache-Tag", tag), ("xkey", tag), ("Cache-Groups", f'"{tag}"'), *FRESH.items()]
    back.on(path, lambda r: r.answer(b"body", fields=fields)).on(path + "/private", lambda r: r.answer(b"body", fields=[("Surrogate-Key", tag), ("Cache-Control", "private")]))
    for response in (proxy.get(path), proxy.get(path), proxy.get(path, fields={"Range": "bytes=0-1"}), proxy.get(path, method="HEAD")):
        assert (response.get("surrogate-key"), response.get("cache-tag"), response.get("xkey")) == (None, None, None)
        assert response.get("cache-groups") == f'"{tag}"' and response.get("x-one") == "1"
    assert proxy.get(path + "/private").get("surrogate-key") is None
    assert proxy.get(path, method="POST", body=b"x").get("xkey") is None


def test_tags_are_shown_where_the_site_wants_it(make_outrigger, origin):
    outrigger = make_outrigger(origin=origin.url, site={"cache": {"strip_tags": False}})
    origin.on("/page", numbered({**FRESH, "Surrogate-Key": "a b", "Cache-Tag": "c"}))
    for _ in range(2):
        response = outrigger.get("/page")
        assert response.get("surrogate-key") == "a b" and response.get("cache-tag") == "c"
    outrigger.ctl("purge", "--tag", "b")
    assert outrigger.get("/page").body == b"answer 2"


# Softly

def test_soft_purge_has_it_validated(proxy, back, path, tag):
    back.on(path, numbered({**FRESH, **ETAG, "Surrogate-Key": tag}))
    proxy.get(path)
    answer = proxy.get(path, method="PURGE", fields={"Surrogate-Key": tag, "Fastly-Soft-Purge": "1"})
    assert json.loads(answer.body) == {"purged": True, "by": "tag", "tags": 1, "soft": True}
    back.on(path, lambda r: r.answer(status="304 Not Modified", fields={**FRESH, **ETAG}, length=False))
    response = proxy.get(path)
    assert response.body == b"answer 1" and back.last(path).get("if-none-match") == '"v1"'
    assert status_of(response) == {"fwd": "stale", "fwd-status": "304", "stored": True, "detail": "soft-purged"}
    assert is_hit(proxy.get(path))


@pytest.mark.parametrize("how", ["url", "tag", "host", "all"])
def test_soft_purge_serves_stale_while_it_is_fetched_where_that_is_allowed(make_outrigger, origin, how):
    outrigger = make_outrigger(origin=origin.url)
    origin.on("/may", numbered({"Cache-Control": "max-age=60, stale-while-revalidate=60", "xkey": "t"}))
    origin.on("/must", numbered({"Cache-Control": "max-age=60, stale-while-revalidate=60, must-revalidate", "xkey": "t"}))
    outrigger.get("/may"), outrigger.get("/must")
    arguments = {"tag": [["--tag", "t"]], "host": [["--host", "site.test"]], "all": [["--all"]], "url": [["http://site.test/may"], ["http://site.test/must"]]}[how]
    for argument in arguments:
        assert json.loads(outrigger.ctl("--json", "purge", "--soft", *argument).stdout)["soft"] is True
    response = outrigger.get("/may")
    assert response.body == b"answer 1" and status_of(response)["detail"] == "stale-while-revalidate" and is_hit(response)
    assert outrigger.get("/must").body == b"answer 2"
    until(lambda: outrigger.get("/may").body == b"answer 2", what="the new answer")
    assert origin.count("/may") == 2


def test_soft_purge_of_a_url_with_all_its_variants(proxy, back, path):
    back.on(path, lambda r: r.answer(f"{r.get('x-kind')} {back.count(path)}", fields={**FRESH, **ETAG, "Vary": "X-Kind"}))
    before = [proxy.get(path, fields={"X-Kind": kind}).body for kind in "ab"]
    answer = proxy.get(path, method="PURGE", fields={"Fastly-Soft-Purge": "1"})
    assert json.loads(answer.body) == {"purged": True, "by": "url", "soft": True}
    back.on(path, lambda r: r.answer(status="304 Not Modified", fields={**FRESH, **ETAG, "Vary": "X-Kind"}, length=False))
    for kind, body in zip("ab", before):
        response = proxy.get(path, fields={"X-Kind": kind})
        assert response.body == body and status_of(response)["fwd"] == "stale"
        assert is_hit(proxy.get(path, fields={"X-Kind": kind}))


def test_soft_purge_keeps_what_is_needed_when_the_origin_is_down(make_outrigger, make_origin):
    origin = make_origin()
    outrigger = make_outrigger(origin=origin.url, site={"cache": {"grace": "1h"}})
    origin.on("/page", numbered({**FRESH, "xkey": "t"})).on("/hard", numbered({**FRESH, "xkey": "h"}))
    outrigger.get("/page"), outrigger.get("/hard")
    outrigger.ctl("purge", "--soft", "--tag", "t"), outrigger.ctl("purge", "--tag", "h")
    origin.stop()
    assert outrigger.get("/page").body == b"answer 1"
    assert outrigger.get("/hard").status in (502, 503)


# By host, everything

def test_purge_by_host_and_of_everything(make_outrigger, origin):
    outrigger = make_outrigger(origin=origin.url)
    origin.on("/page", lambda r: r.answer(f"{r.get('host')} {origin.count('/page')}", fields=FRESH))
    hosts = ["a.test", "A.Test:8080", "b.test", "a.test.b.test"]

    def ask():
        return [outrigger.get("/page", host=host).body for host in hosts]

    before = ask()
    assert ask() == before
    outrigger.ctl("purge", "--host", "a.test")
    after = ask()
    assert [x != y for x, y in zip(before, after)] == [True, True, False, False]
    assert outrigger.ctl("purge", "--all").stdout == "purged\n"
    assert not set(after) & set(ask())
    assert outrigger.metric("outrigger_cache_purges_total") == 2


# Under way

@pytest.mark.parametrize("how", ["tag", "host", "all"])
def test_what_is_being_fetched_is_not_stored_when_it_is_purged(make_outrigger, origin, how):
    outrigger = make_outrigger(origin=origin.url)
    arrived, go = threading.Event(), threading.Event()

    def slow(request):
        body = f"answer {origin.count('/page')}"
        arrived.set()
        go.wait(20)
        request.answer(body, fields={**FRESH, "Surrogate-Key": "t"})

    origin.on("/page", slow)
    with outrigger.connect() as client:
        client.send("GET /page HTTP/1.1\r\nHost: site.test\r\n\r\n")
        arrived.wait(20)
        outrigger.ctl("purge", *{"tag": ["--tag", "t"], "host": ["--host", "site.test"], "all": ["--all"]}[how])
        with outrigger.connect() as late:
            late.send("GET /page HTTP/1.1\r\nHost: site.test\r\n\r\n")
            go.set()
            first, second = client.response(), late.response()
    assert first.body == b"answer 1" and status_of(first)["detail"] == "purged"
    assert second.body != b"answer 1", "it asked after the purge"
    assert outrigger.get("/page").body == second.body


@pytest.mark.threads
def test_purges_by_tag_under_load_let_nothing_older_through(make_outrigger, origin):
    """Four clients ask, one changes the content and purges its tag; no answer is older than a purge that was answered before it was asked."""
    version = [0]

    def answer(request):
        now = version[0]
        request.answer(body_of(f"{request.target} {now}", 5000), fields={**FRESH, "X-Version": str(now), "Surrogate-Key": f"all p{request.target[1:]}"})

    origin.on("*", answer)
    outrigger = make_outrigger(origin=origin.url)
    purged, failures, stopping = [0], [], threading.Event()

    def ask(seed):
        try:
            with outrigger.connect() as client:
                n = seed
                while not stopping.is_set():
                    n += 1
                    oldest = purged[0]
                    response = client.request(f"/{n % 3}")
                    got = int(response.get("x-version"))
                    if response.body != body_of(f"/{n % 3} {got}", 5000) or got < oldest:
                        failures.append((n, got, oldest))
        except Exception as failure:
            failures.append(repr(failure))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    [thread.start() for thread in threads]
    with outrigger.connect() as client:
        for n in range(150):
            version[0] += 1
            fields = {"Surrogate-Key": "p0 p1 p2"} if n % 2 else {"Cache-Tag": "all"}
            assert client.request("/", method="PURGE", fields=fields).status == 200
            purged[0] = version[0]
            assert int(client.request(f"/{n % 3}").get("x-version")) == version[0]
    stopping.set()
    [thread.join() for thread in threads]
    assert failures == []


# outriggerctl

def test_ctl_says_what_it_did_and_refuses_what_it_cannot_do(proxy, back, path):
    back.on(path, numbered(FRESH))
    proxy.get(path)
    assert proxy.ctl("purge", "--soft", url(proxy, path)).stdout == "purged softly: stale from now on\n"
    assert proxy.ctl("purge", url(proxy, path)).stdout == "purged\n"
    assert proxy.ctl("purge", url(proxy, path)).stdout == "nothing was stored of it\n"
    for arguments in (["purge"], ["purge", "--tag"], ["purge", "http://a/", "--all"], ["purge", "--tag", "a", "--host", "b"], ["purge", "http://a/", "http://b/"],
                      ["purge", "--all", "--all"], ["stats", "--all"], ["stats", "--soft"], ["stats", "x"], ["frob"]):
        done = proxy.ctl(*arguments, check=False)
        assert done.returncode == 2 and done.stdout == "" and "--help" in done.stderr, arguments
    refused = proxy.ctl("purge", "/path", check=False)
    assert refused.returncode == 1 and "absolute URL" in refused.stderr



def many_tags(count):
    return [argument for number in range(count) for argument in ("--tag", f"tag-{number:05d}-with-a-name")]


def test_ctl_purges_by_thousands_of_tags(proxy, back, path):
    some = 0, 1, 2500, 4998, 4999
    for number in some:
        back.on(f"{path}/{number}", numbered({**FRESH, "Cache-Tag": f"tag-{number:05d}-with-a-name"}))
    back.on(f"{path}/other", numbered({**FRESH, "Cache-Tag": "tag-05000-with-a-name"}))
    for soft in [], ["--soft"]:
        for name in [*some, "other"]:
            proxy.get(f"{path}/{name}")
            assert is_hit(proxy.get(f"{path}/{name}"))
        done = proxy.ctl("purge", *soft, *many_tags(5000))
        assert done.stdout == ("purged softly: stale from now on\n" if soft else "purged\n") and done.stderr == ""
        assert not any(is_hit(proxy.get(f"{path}/{number}")) for number in some)
        assert is_hit(proxy.get(f"{path}/other"))
    assert json.loads(proxy.ctl("--json", "purge", *many_tags(5000)).stdout) == {"purged": True, "by": "tag", "tags": 5000, "soft": False}


@pytest.mark.parametrize("limits", [{"url_bytes": "200B"}, {"header_bytes": "1KiB"}])
def test_ctl_purges_by_many_tags_whatever_the_limits(make_outrigger, origin, limits):
    outrigger = make_outrigger(origin=origin.url, config={"limits": limits})
    for number in range(0, 500, 100):
        origin.on(f"/{number}", numbered({**FRESH, "Cache-Tag": f"tag-{number:05d}-with-a-name"}))
        outrigger.get(f"/{number}")
    assert outrigger.ctl("purge", *many_tags(500)).stdout == "purged\n"
    assert not any(is_hit(outrigger.get(f"/{number}")) for number in range(0, 500, 100))
    refused = outrigger.ctl("purge", *many_tags(20), "--tag", "x" * 2000, check=False)
    assert refused.returncode == 1 and refused.stdout == "" and "20 of 21 tags were purged" in refused.stderr and len(refused.stderr.splitlines()) == 2


@pytest.mark.parametrize("arguments", [["purge", "http://site.test/" + "u" * 9000], ["purge", "http://site.test/" + "u" * 120000], ["purge", "--tag", "t" * 9000], ["purge", "--host", "h" * 20000],
                                       ["why", "http://site.test/" + "u" * 9000], ["why", "http://site.test/", "-H", "A: " + "b" * 9000], ["log", "--url", "/" + "u" * 9000],
                                       ["--json", "purge", "http://site.test/" + "u" * 9000]], ids=lambda arguments: " ".join(arguments)[:30])
def test_ctl_says_in_words_that_something_is_too_long(proxy, arguments):
    done = proxy.ctl(*arguments, check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == "outriggerctl: refused: what is asked for is longer than limits.url_bytes and limits.header_bytes let through (status 414, URI Too Long)\n"


def test_ctl_purges_a_url_as_long_as_clients_may_ask_for(proxy, back, path):
    long = f"{path}/{'a/b=c:d@e,f;' * 670}?{'g=h/' * 10}"
    assert 8000 < len(long) < 8150
    back.on(long, numbered(FRESH))
    proxy.get(long)
    assert proxy.ctl("purge", url(proxy, long)).stdout == "purged\n"
    assert not is_hit(proxy.get(long))

# What the response to an unsafe request says

def invalidating(fields, status="200 OK"):
    """Answers GET with a new body each time, all else with `fields`."""
    answer = numbered({**FRESH, "Cache-Groups": '"g", "h"'})
    return lambda request: answer(request) if request.method == "GET" else request.answer(status=status, fields=fields)


@pytest.mark.parametrize("field", ["Location", "Content-Location"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "M-SEARCH"])
def test_location_and_content_location_are_invalidated(proxy, back, path, field, method):
    for n, reference in enumerate([f"{path}/other?x", f"http://site.test{path}/other?x", f"//SITE.test:80{path}/other?x#f", f".{path}/./x/../other?x"]):
        back.on(path, invalidating({field: reference}))
        back.on(f"{path}/other?x", numbered(FRESH)).on(f"{path}/other", numbered(FRESH))
        proxy.get(path, method="PURGE"), proxy.get(f"{path}/other?x", method="PURGE"), proxy.get(f"{path}/other", method="PURGE")
        proxy.get(path), proxy.get(f"{path}/other?x"), proxy.get(f"{path}/other")
        proxy.get(path, method=method, body=b"x")
        assert proxy.get(f"{path}/other?x").body == b"answer 2", reference
        assert proxy.get(path).body == b"answer 2"
        assert proxy.get(f"{path}/other").body == b"answer 1", "the query is part of it"


@pytest.mark.parametrize("reference", ["http://other.test{}", "https://site.test{}", "http://site.test:8080{}", "//other.test{}", "mailto:{}"])
def test_other_origins_are_not_invalidated(proxy, back, path, reference):
    other = path + "/other"
    back.on(path, invalidating({"Location": reference.format(other), "Content-Location": reference.format(other)})).on(other, numbered(FRESH))
    hosts = ["site.test", "other.test", "site.test:8080"]
    [proxy.get(other, host=host) for host in hosts]
    proxy.get(path, method="POST", body=b"x")
    assert all(is_hit(proxy.get(other, host=host)) for host in hosts)


def test_an_error_or_a_safe_method_invalidates_nothing(proxy, back, path):
    other = path + "/other"
    fields = {"Location": other, "Content-Location": other, "Cache-Group-Invalidation": '"g"', "Cache-Control": "no-store"}
    back.on(other, invalidating({}))
    proxy.get(other)
    for method, status in (("POST", "400 Bad Request"), ("POST", "500 Internal Server Error"), ("OPTIONS", "200 OK"), ("GET", "200 OK")):
        back.on(path, lambda request: request.answer(status=status, fields=fields))
        proxy.get(path, method=method)
        assert is_hit(proxy.get(other)), (method, status)


@pytest.mark.parametrize("said, gone", [('"g"', True), ('"x", "h";a=1', True), ('"G"', False), ("g", False), ('"g', False), ("", False)])
def test_groups_are_invalidated_within_their_origin(proxy, back, path, said, gone):
    back.on(path, invalidating({"Cache-Group-Invalidation": said}))
    for n in range(3):
        back.on(f"{path}/{n}", invalidating({}))
        proxy.get(f"{path}/{n}"), proxy.get(f"{path}/{n}", host="other.test")
    proxy.get(path, method="POST", body=b"x")
    assert [is_hit(proxy.get(f"{path}/{n}")) for n in range(3)] == [not gone] * 3
    assert [is_hit(proxy.get(f"{path}/{n}", host="other.test")) for n in range(3)] == [True] * 3
