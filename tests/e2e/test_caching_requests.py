"""Cache-Control and Pragma of requests (RFC 9111 §5.2.1, §5.4): ignored, or honoured where the site says so."""
import itertools

import pytest

from harness.status import status_of


def numbered(fields):
    count = itertools.count(1)
    return lambda request: request.answer(f"answer {next(count)}", fields=fields)


@pytest.fixture(scope="module")
def honouring(back, make_module_outrigger):
    return make_module_outrigger(origin=back.url, site={"cache": {"honour_request_directives": True}})


AGED = {"Cache-Control": "max-age=60", "Age": "30"}
FORWARDED = {
    "no-cache": {"Cache-Control": "no-cache"},
    "no-cache, upper case": {"Cache-Control": "No-CaChE"},
    "no-store": {"Cache-Control": "no-store"},
    "Pragma": {"Pragma": "no-cache"},
    "max-age=0": {"Cache-Control": "max-age=0"},
    "max-age below its age": {"Cache-Control": "max-age=29"},
    "an invalid max-age": {"Cache-Control": "max-age=x"},
    "min-fresh above what is left": {"Cache-Control": "min-fresh=31"},
}


@pytest.mark.parametrize("name", FORWARDED)
def test_what_forwards_a_fresh_one_only_where_it_is_honoured(proxy, honouring, back, path, name):
    back.on(path, numbered(AGED))
    for outrigger, hit in ((proxy, True), (honouring, False)):
        outrigger.get(path)
        response = outrigger.get(path, fields=FORWARDED[name])
        assert ("hit" in status_of(response)) == hit, response
        assert hit or status_of(response)["fwd"] == "request"


NOT_FORWARDED = {
    "max-age above its age": {"Cache-Control": "max-age=40"},
    "min-fresh below what is left": {"Cache-Control": "min-fresh=20"},
    "max-stale": {"Cache-Control": "max-stale=100"},
    "Pragma beside Cache-Control": {"Pragma": "no-cache", "Cache-Control": "max-age=600"},
    "another Pragma": {"Pragma": "foo"},
    "only-if-cached": {"Cache-Control": "only-if-cached"},
    "what is unknown": {"Cache-Control": "foo=bar"},
}


@pytest.mark.parametrize("name", NOT_FORWARDED)
def test_what_a_fresh_one_meets(honouring, back, path, name):
    back.on(path, numbered(AGED))
    honouring.get(path)
    assert "hit" in status_of(honouring.get(path, fields=NOT_FORWARDED[name])) and back.count(path) == 1


STALE = {"Cache-Control": "max-age=60", "Age": "100", "ETag": '"1"'}  # by 40 s
STALE_WANTED = {
    "max-stale": ({"Cache-Control": "max-stale"}, True),
    "max-stale, long enough": ({"Cache-Control": "max-stale=100"}, True),
    "max-stale, too short": ({"Cache-Control": "max-stale=10"}, False),
    "max-stale, beside max-age": ({"Cache-Control": "max-stale=100, max-age=200"}, True),
    "max-stale, but a max-age below its age": ({"Cache-Control": "max-stale=100, max-age=50"}, False),
    "nothing": ({}, False),
}


@pytest.mark.parametrize("name", STALE_WANTED)
def test_a_stale_one_for_who_accepts_it(honouring, back, path, name):
    fields, served = STALE_WANTED[name]
    back.on(path, numbered(STALE))
    honouring.get(path)
    response = honouring.get(path, fields=fields)
    assert (response.body == b"answer 1") == served
    if served:
        assert status_of(response)["detail"] == "request-max-stale"


@pytest.mark.parametrize("directive", ["must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"])
def test_but_not_where_the_response_forbids_it(honouring, back, path, directive):
    back.on(path, numbered({**STALE, "Cache-Control": f"max-age=60, {directive}"}))
    honouring.get(path)
    assert honouring.get(path, fields={"Cache-Control": "max-stale=1000"}).body == b"answer 2"


def test_only_if_cached(proxy, honouring, back, path):
    back.on(path, numbered(AGED))
    response = honouring.get(path, fields={"Cache-Control": "only-if-cached"})
    assert response.status == 504 and back.count(path) == 0
    assert proxy.get(path, fields={"Cache-Control": "only-if-cached"}).status == 200
    honouring.get(path)
    assert honouring.get(path, fields={"Cache-Control": "only-if-cached"}).status == 200


def test_immutable_is_not_reloaded(honouring, back, path):
    """RFC 8246: a reload (max-age=0) gets nothing newer while it is fresh; no-cache does."""
    back.on(path, numbered({"Cache-Control": "max-age=60, immutable", "Age": "30"}))
    honouring.get(path)
    assert "hit" in status_of(honouring.get(path, fields={"Cache-Control": "max-age=0"}))
    assert "hit" not in status_of(honouring.get(path, fields={"Cache-Control": "no-cache"}))


def test_no_store_is_not_stored(honouring, back, path):
    back.on(path, numbered(AGED))
    assert "stored" not in status_of(honouring.get(path, fields={"Cache-Control": "no-store"}))
    assert status_of(honouring.get(path))["fwd"] == "uri-miss"
