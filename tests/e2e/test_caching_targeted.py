"""Fields addressed to this cache (RFC 9213): CDN-Cache-Control and its like, Surrogate-Control, X-Accel-Expires."""
import itertools

import pytest

from harness.status import status_of

FRESH = ("Cache-Control", "max-age=60")
NO_STORE = ("Cache-Control", "no-store")


def numbered(fields):
    count = itertools.count(1)
    return lambda request: request.answer(f"answer {next(count)}", fields=fields)


STORED = {
    "CDN-Cache-Control": [("CDN-Cache-Control", "max-age=60")],
    "over no-store": [("CDN-Cache-Control", "max-age=60"), NO_STORE],
    "over a past Expires": [("CDN-Cache-Control", "max-age=60"), ("Expires", "0")],
    "with what is unknown": [("CDN-Cache-Control", "foobar, max-age=60"), NO_STORE],
    "2^31": [("CDN-Cache-Control", "max-age=2147483648")],
    "more": [("CDN-Cache-Control", "max-age=99999999999")],
    "Outrigger-Cache-Control first": [("CDN-Cache-Control", "no-store"), ("Outrigger-Cache-Control", "max-age=60"), NO_STORE],
    "invalid: Cache-Control": [("CDN-Cache-Control", "no-store, &&&&&"), FRESH],
    "empty: Cache-Control": [("CDN-Cache-Control", ""), FRESH],
    "two lines": [("CDN-Cache-Control", "max-age=0"), ("CDN-Cache-Control", "max-age=60"), NO_STORE],
}


@pytest.mark.parametrize("name", STORED)
def test_stored(proxy, back, path, name):
    back.on(path, numbered(STORED[name]))
    assert status_of(proxy.get(path))["stored"] is True
    assert "hit" in status_of(proxy.get(path)) and back.count(path) == 1


NOT_STORED = {
    "no-store": ([("CDN-Cache-Control", "no-store"), FRESH], "no-store"),
    "private": ([("CDN-Cache-Control", "private"), FRESH], "private"),
    "no-cache": ([("CDN-Cache-Control", "no-cache, max-age=60"), FRESH], "no-cache"),
    "max-age=0": ([("CDN-Cache-Control", "max-age=0"), ("Expires", "Fri, 01 Jan 2100 00:00:00 GMT")], "zero-lifetime"),
    "invalid": ([("CDN-Cache-Control", "max-age=60,"), NO_STORE], "no-store"),
    "upper case": ([("CDN-Cache-Control", "MaX-aGe=60"), NO_STORE], "no-store"),
    "space before =": ([("CDN-Cache-Control", "max-age =60"), NO_STORE], "no-store"),
    "a lifetime in quotes": ([("CDN-Cache-Control", 'max-age="60"'), FRESH], "zero-lifetime"),
    "older than it may be": ([("CDN-Cache-Control", "max-age=60"), ("Cache-Control", "max-age=600"), ("Age", "100")], "zero-lifetime"),
    "not ours": ([("Example-Cache-Control", "max-age=60"), NO_STORE], "no-store"),
    "Surrogate-Control, not honoured": ([("Surrogate-Control", "max-age=60"), NO_STORE], "no-store"),
    "X-Accel-Expires, not honoured": ([("X-Accel-Expires", "60"), NO_STORE], "no-store"),
}


@pytest.mark.parametrize("name", NOT_STORED)
def test_not_stored(proxy, back, path, name):
    fields, detail = NOT_STORED[name]
    back.on(path, numbered(fields))
    for _ in range(2):
        assert status_of(proxy.get(path))["detail"] == detail
    assert back.count(path) == 2


def test_the_fields_reach_the_client(proxy, back, path):
    fields = [("CDN-Cache-Control", "max-age=60"), ("Surrogate-Control", "no-store"), ("X-Accel-Expires", "0"), ("Cache-Control", "max-age=7")]
    back.on(path, numbered(fields))
    for _ in range(2):
        response = proxy.get(path)
        assert [response.all(name) for name, _ in fields] == [[value] for _, value in fields]
    assert "hit" in status_of(response)


@pytest.fixture(scope="module")
def honouring(back, make_module_outrigger):
    return make_module_outrigger(origin=back.url, site={"cache": {"targeted": ["Example-Cache-Control"], "surrogate_control": True, "x_accel_expires": True}})


HONOURED = {
    "the configured one": ([("Example-Cache-Control", "max-age=60"), NO_STORE], ["Example-Cache-Control", "Cache-Control"]),
    "not the default ones": ([("CDN-Cache-Control", "no-store"), FRESH], ["CDN-Cache-Control", "Cache-Control"]),
    "Surrogate-Control": ([("Surrogate-Control", "max-age=60"), NO_STORE], ["Cache-Control"]),
    "X-Accel-Expires": ([("X-Accel-Expires", "60"), NO_STORE], ["Cache-Control"]),
    "X-Accel-Expires, a time": ([("X-Accel-Expires", "@4102444800"), NO_STORE], ["Cache-Control"]),
    "X-Accel-Expires yields": ([("X-Accel-Expires", "0"), ("Surrogate-Control", "max-age=60")], []),
}


@pytest.mark.parametrize("name", HONOURED)
def test_honoured_where_the_site_says_so(honouring, back, path, name):
    fields, seen = HONOURED[name]
    back.on(path, numbered(fields))
    for _ in range(2):
        response = honouring.get(path)
        assert [name for name, _ in response.fields if name.endswith(("Control", "Expires"))] == seen
    assert "hit" in status_of(response) and back.count(path) == 1


def test_x_accel_expires_0_is_not_stored_and_not_shown(honouring, back, path):
    back.on(path, numbered([("X-Accel-Expires", "0"), FRESH]))
    for _ in range(2):
        response = honouring.get(path)
        assert status_of(response)["detail"] == "no-store" and response.get("x-accel-expires") is None
    assert back.count(path) == 2


def test_a_304_without_the_field_keeps_its_lifetime(honouring, back, path):
    """RFC 9111 §4.3.4: what a 304 does not mention stays as it was, also what clients do not see."""
    def handler(request):
        if request.get("if-none-match"):
            request.answer(status="304 Not Modified", fields=[("ETag", '"1"'), ("Age", "0")], length=False)
        else:
            request.answer("one", fields=[("ETag", '"1"'), ("Surrogate-Control", "max-age=60"), NO_STORE, ("Age", "100")])

    back.on(path, handler)
    assert status_of(honouring.get(path))["stored"] is True
    assert status_of(honouring.get(path))["fwd-status"] == "304"
    response = honouring.get(path)
    assert "hit" in status_of(response) and response.body == b"one" and response.get("surrogate-control") is None
    assert back.count(path) == 2


def test_what_cannot_be_the_name_of_a_field_is_refused(make_outrigger):
    outrigger = make_outrigger(site={"cache": {"targeted": ["No Field"]}}, wait=False)
    assert outrigger.process.wait(30) != 0
    assert "cache.targeted: \"No Field\" is not the name of a field" in outrigger.output_text()
