"""Interim responses (RFC 9110 §15.2): sent on while a response is fetched; never stored and never replayed, but for hints where a site keeps them."""
import threading

import pytest

from harness.outrigger import SLOW
from harness.status import status_of

INTERIM = {
    "102": ([102], b"HTTP/1.1 102 Processing\r\n\r\n"),
    "103": ([103], b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"),
    "several": ([103, 102, 103], b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n"),
    "one that looks cacheable": ([103], b"HTTP/1.1 103 Early Hints\r\nCache-Control: max-age=600\r\nETag: \"hint\"\r\n\r\n"),
}


def ask(client, path):
    client.send(f"GET {path} HTTP/1.1\r\nHost: site.test\r\n\r\n")
    interim = []
    return client.response(interim=interim), interim


@pytest.mark.parametrize("name", INTERIM)
def test_forwarded_on_a_miss_and_never_on_a_hit(proxy, back, path, name):
    statuses, head = INTERIM[name]
    back.on(path, lambda request: (request.send(head), request.answer("page", fields={"Cache-Control": "max-age=60"})))
    with proxy.connect() as client:
        response, interim = ask(client, path)
        assert [i.status for i in interim] == statuses and response.body == b"page"
        for _ in range(2):
            response, interim = ask(client, path)
            assert interim == [] and "hit" in status_of(response) and response.body == b"page"
            assert response.get("link") is None and response.get("etag") is None
    assert back.count(path) == 1


HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload; as=style\r\nX-Other: 1\r\nSet-Cookie: a=b\r\nContent-Security-Policy: style-src: self\r\n\r\n"
KEPT = [("Link", "</style.css>; rel=preload; as=style"), ("Content-Security-Policy", "style-src: self")]


@pytest.fixture(scope="module")
def hinting(back, make_module_outrigger):
    return make_module_outrigger(origin=back.url, site={"cache": {"early_hints": True}})


def hinted(back, path, hints=(HINT,), body="page", **fields):
    back.on(path, lambda request: ([request.send(hint) for hint in hints], request.answer(body, fields={"Cache-Control": "max-age=60", **fields})))


def ask_hinted(proxy, path, method="GET", version="1.1", **fields):
    with proxy.connect() as client:
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        client.send(f"{method} {path} HTTP/{version}\r\nHost: site.test\r\n{lines}\r\n")
        interim = []
        response = client.response(interim=interim, method=method)
        return response, [(i.status, i.fields) for i in interim]


def test_where_the_site_keeps_hints_a_hit_has_them(hinting, back, path):
    hinted(back, path)
    response, interim = ask_hinted(hinting, path)
    assert [status for status, _ in interim] == [103] and len(interim[0][1]) == 4, "the origin's own, once"
    for _ in range(2):
        response, interim = ask_hinted(hinting, path)
        assert interim == [(103, KEPT)] and "hit" in status_of(response) and response.body == b"page"
        assert [response.get(name) for name in ("link", "set-cookie", "x-other", "content-security-policy")] == [None] * 4
    assert back.count(path) == 1


def test_hints_of_several_103s_are_one(hinting, back, path):
    hinted(back, path, [HINT, b"HTTP/1.1 102 Processing\r\nLink: </no>\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nlink: </b.css>\r\n\r\n"])
    ask_hinted(hinting, path)
    assert ask_hinted(hinting, path)[1] == [(103, [*KEPT, ("link", "</b.css>")])]


@pytest.mark.parametrize("how", [{"version": "1.0"}, {"method": "HEAD"}, {"Range": "bytes=0-1"}, {"If-None-Match": '"1"'}, {"If-None-Match": '"2"'}])
def test_hints_are_for_those_who_want_the_page(hinting, back, path, how):
    hinted(back, path, ETag='"1"')
    ask_hinted(hinting, path)
    response, interim = ask_hinted(hinting, path, **how)
    assert interim == [] and "hit" in status_of(response)


@pytest.mark.parametrize("fields", [{"Cache-Control": "private"}, {"Cache-Control": "no-store"}, {"Set-Cookie": "a=b"}])
def test_hints_of_what_is_not_stored_are_not_kept(hinting, back, path, fields):
    hinted(back, path, **fields)
    for _ in range(2):
        assert len(ask_hinted(hinting, path)[1]) == 1, "the origin's own"
    back.on(path, lambda request: request.answer("page", fields={"Cache-Control": "max-age=60"}))
    for _ in range(2):
        assert ask_hinted(hinting, path)[1] == []


def test_who_waits_for_a_validation_has_hints_meanwhile(hinting, back, path):
    hinted(back, path, Age="100", ETag='"1"')
    ask_hinted(hinting, path)
    arrived, go = threading.Event(), threading.Event()

    def validate(request):
        arrived.set()
        assert go.wait(20 * SLOW)
        request.answer(status="304 Not Modified", fields={"ETag": '"1"', "Age": "0"}, length=False)

    back.on(path, validate)
    with hinting.connect(timeout=20 * SLOW) as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: site.test\r\n\r\n")
        assert arrived.wait(20 * SLOW)
        assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 103"), "before the origin has answered"
        go.set()
        interim = []
        assert client.response(interim=interim).body == b"page" and interim == []
    assert ask_hinted(hinting, path)[1] == [(103, KEPT)], "and they stay"


def test_newer_hints_take_the_place_of_older_ones(hinting, back, path):
    hinted(back, path, Age="100", ETag='"1"')
    ask_hinted(hinting, path)
    back.on(path, lambda request: (request.send(b"HTTP/1.1 103 Early Hints\r\nLink: </new.css>\r\n\r\n"), request.answer(status="304 Not Modified", fields={"ETag": '"1"', "Age": "0"}, length=False)))
    ask_hinted(hinting, path)
    assert ask_hinted(hinting, path)[1] == [(103, [("Link", "</new.css>")])]


def test_who_joins_a_fetch_has_its_hints(hinting, back, path):
    arrived, go = threading.Event(), threading.Event()

    def slow(request):
        request.send(HINT)
        arrived.set()
        assert go.wait(20 * SLOW)
        request.answer("page", fields={"Cache-Control": "max-age=60"})

    back.on(path, slow)
    with hinting.connect(timeout=20 * SLOW) as first, hinting.connect(timeout=20 * SLOW) as second:
        first.send(f"GET {path} HTTP/1.1\r\nHost: site.test\r\n\r\n")
        assert arrived.wait(20 * SLOW)
        collapsed = hinting.metric("outrigger_collapsed_requests_total")
        second.send(f"GET {path} HTTP/1.1\r\nHost: site.test\r\n\r\n")
        hinting.await_metric(collapsed + 1, "outrigger_collapsed_requests_total")
        go.set()
        for client, lines in ((first, 4), (second, 2)):
            interim = []
            assert client.response(interim=interim).body == b"page" and [len(i.fields) for i in interim] == [lines]
    assert back.count(path) == 1


def test_hints_do_not_disturb_a_pipeline(hinting, back, path):
    hinted(back, path)
    ask_hinted(hinting, path)
    with hinting.connect() as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: site.test\r\n\r\n" * 20)
        for _ in range(20):
            interim = []
            assert client.response(interim=interim).body == b"page" and [i.fields for i in interim] == [KEPT]


def test_too_many_hints_are_cut(hinting, back, path):
    hinted(back, path, [b"HTTP/1.1 103 Early Hints\r\n" + b"".join(b"Link: </%03d%s>\r\n" % (n, b"x" * 50) for n in range(100)) + b"\r\n"])
    ask_hinted(hinting, path)
    ((_, kept),) = ask_hinted(hinting, path)[1]
    assert 10 < len(kept) < 100 and kept[0] == ("Link", f"</000{'x' * 50}>") and sum(len(n) + len(v) + 4 for n, v in kept) <= 4096


def test_hints_beside_tags_that_are_kept_from_clients(hinting, back, path):
    hinted(back, path, **{"Surrogate-Key": path, "Vary": "Accept-Language"})
    ask_hinted(hinting, path)
    response, interim = ask_hinted(hinting, path)
    assert interim == [(103, KEPT)] and response.get("surrogate-key") is None
    hinting.ctl("purge", "--tag", path)
    assert len(ask_hinted(hinting, path)[1][0][1]) == 4 and back.count(path) == 2


def test_forwarded_again_when_it_is_validated(proxy, back, path):
    def handler(request):
        request.send(INTERIM["103"][1])
        if request.get("if-none-match"):
            request.answer(status="304 Not Modified", fields={"ETag": '"1"', "Age": "0"}, length=False)
        else:
            request.answer("page", fields={"Cache-Control": "max-age=60", "Age": "100", "ETag": '"1"'})

    back.on(path, handler)
    with proxy.connect() as client:
        for expected in (1, 1, 0):
            response, interim = ask(client, path)
            assert len(interim) == expected and response.body == b"page"
