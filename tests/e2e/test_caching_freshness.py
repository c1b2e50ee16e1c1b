"""Freshness (RFC 9111 §4.2): which fields give a lifetime, how Age counts against it, and what may be served after it."""
import itertools
import time
from email.utils import formatdate

import pytest

from harness.poll import until
from harness.status import status_of

MAX_AGE = ("Cache-Control", "max-age=3600")


def numbered(fields):
    count = itertools.count(1)
    return lambda request: request.answer(f"answer {next(count)}", fields=fields)


def date(seconds):
    return formatdate(time.time() + seconds, usegmt=True)


FRESH = {
    "max-age": [MAX_AGE],
    "max-age of 2^31": [("Cache-Control", "max-age=2147483648")],
    "max-age of more": [("Cache-Control", "max-age=99999999999999999999")],
    "odd case": [("Cache-Control", "MaX-aGe=3600")],
    "quoted": [("Cache-Control", 'max-age="3600"')],
    "leading zeros": [("Cache-Control", "max-age=003600")],
    "unknown directives": [("Cache-Control", 'foobar, a="max-age=0", max-age=3600, b=c')],
    "empty members": [("Cache-Control", ",, max-age=3600 ,")],
    "the first of two": [("Cache-Control", "max-age=3600"), ("Cache-Control", "max-age=0")],
    "s-maxage beats max-age=0": [("Cache-Control", "max-age=0, s-maxage=3600")],
    "max-age beats a past Expires": [MAX_AGE, ("Expires", "0")],
    "Expires": [("Expires", "Thu, 18 Aug 2050 02:01:18 GMT")],
    "Expires, RFC 850": [("Expires", "Thursday, 18-Aug-50 02:01:18 GMT")],
    "Expires, asctime": [("Expires", "Thu Aug 18 02:01:18 2050")],
    "Expires, odd case": [("Expires", "tHU, 18 aUG 2050 02:01:18 gmt")],
    "Age 0": [MAX_AGE, ("Age", "0")],
    "Age below": [MAX_AGE, ("Age", "3000")],
    "Age, not a number": [MAX_AGE, ("Age", "abc")],
    "Age, negative": [MAX_AGE, ("Age", "-7200")],
    "Age, decimal": [MAX_AGE, ("Age", "7200.0")],
    "Age, quoted": [MAX_AGE, ("Age", '"7200"')],
    "Age, the first of a list": [MAX_AGE, ("Age", "0, 7200")],
    "Age, the first of two lines": [MAX_AGE, ("Age", "0"), ("Age", "7200")],
    "no Date": [MAX_AGE],
    "a Date that is none": [MAX_AGE, ("Date", "foo")],
    "a guess": [("Last-Modified", "Tue, 01 Jul 2025 10:00:00 GMT")],
    "Pragma of a response": [MAX_AGE, ("Pragma", "no-cache")],
}


@pytest.mark.parametrize("name", FRESH)
def test_fresh(proxy, back, path, name):
    back.on(path, numbered(FRESH[name]))
    proxy.get(path)
    response = proxy.get(path)
    assert "hit" in status_of(response) and response.body == b"answer 1", response
    assert int(status_of(response)["ttl"]) > 0 and back.count(path) == 1


NOT_FRESH = {
    "nothing": [],
    "max-age=0": [("Cache-Control", "max-age=0")],
    "negative": [("Cache-Control", "max-age=-3600")],
    "decimal": [("Cache-Control", "max-age=3600.0")],
    "single quotes": [("Cache-Control", "max-age='3600'")],
    "space before =": [("Cache-Control", "max-age =3600")],
    "space after =": [("Cache-Control", "max-age= 3600")],
    "letters": [("Cache-Control", "max-age=3600a")],
    "in another's quotes": [("Cache-Control", 'extension="max-age=3600", max-age=0')],
    "an invalid one of two": [("Cache-Control", "max-age=3600, max-age=x")],
    "s-maxage=0 beats max-age": [("Cache-Control", "s-maxage=0, max-age=3600")],
    "max-age=0 beats Expires": [("Cache-Control", "max-age=0"), ("Expires", "Thu, 18 Aug 2050 02:01:18 GMT")],
    "Expires: 0": [("Expires", "0")],
    "Expires: -1": [("Expires", "-1")],
    "Expires in the past": [("Expires", "Tue, 01 Jul 2025 10:00:00 GMT")],
    "Expires twice": [("Expires", "Thu, 18 Aug 2050 02:01:18 GMT")] * 2,
    "Expires, UTC": [("Expires", "Thu, 18 Aug 2050 02:01:18 UTC")],
    "Expires, no comma": [("Expires", "Thu 18 Aug 2050 02:01:18 GMT")],
    "Expires, a digit of the hour": [("Expires", "Thu, 18 Aug 2050 2:01:18 GMT")],
    "Expires before a Date ahead of us": [("Expires", "Thu, 18 Aug 2050 02:01:18 GMT"), ("Date", "Thu, 18 Aug 2050 02:01:18 GMT")],
    "Age above": [MAX_AGE, ("Age", "3600")],
    "Age of 2^31": [("Cache-Control", "max-age=2147483648"), ("Age", "2147483648")],
    "Age of more": [("Cache-Control", "max-age=99999999999"), ("Age", "99999999999999999999")],
    "Age, the first of a list": [MAX_AGE, ("Age", "7200, 0")],
    "Age, the first that is valid": [MAX_AGE, ("Age", "x, 7200")],
    "an old Date": [MAX_AGE, ("Date", "Tue, 01 Jul 2025 10:00:00 GMT")],
    "Age against Expires": [("Expires", "EXPIRES"), ("Age", "7200")],
}


@pytest.mark.parametrize("name", NOT_FRESH)
def test_not_fresh(proxy, back, path, name):
    back.on(path, numbered([(n, date(3600) if v == "EXPIRES" else v) for n, v in NOT_FRESH[name]]))
    for number in (1, 2):
        response = proxy.get(path)
        assert "hit" not in status_of(response) and response.body == f"answer {number}".encode(), response


def test_a_second_that_ends_meanwhile_makes_no_answer_a_second_old(proxy, back, path):
    def handler(request):
        end = int(time.time()) + 1
        until(lambda: time.time() > end + 0.05, what="the end of the second")  # by a coarse clock, too
        request.answer("body", fields={"Cache-Control": "max-age=60"})

    back.on(path, handler)
    began = time.monotonic()
    age = int(proxy.get(path).get("age") or 0)
    assert age == 0 or time.monotonic() - began >= 1


STALE_BY_40 = [("Age", "100"), ("ETag", '"1"')]
WHILE = {
    "within the window": ("max-age=60, stale-while-revalidate=60", True),
    "beyond it": ("max-age=60, stale-while-revalidate=30", False),
    "no window": ("max-age=60, stale-while-revalidate=0", False),
    "an invalid one": ("max-age=60, stale-while-revalidate=x", False),
    "must-revalidate": ("max-age=60, stale-while-revalidate=60, must-revalidate", False),
    "s-maxage": ("s-maxage=60, stale-while-revalidate=60", False),
    "no-cache": ("max-age=60, stale-while-revalidate=60, no-cache", False),
}


@pytest.mark.parametrize("name", WHILE)
def test_stale_while_revalidate(proxy, back, path, name):
    directives, served = WHILE[name]
    back.on(path, numbered([*STALE_BY_40, ("Cache-Control", directives)]))
    proxy.get(path)
    response = proxy.get(path)
    assert (status_of(response).get("detail") == "stale-while-revalidate") == served
    assert (response.body == b"answer 1") == served


IF_ERROR = {
    "within the window": ("max-age=60, stale-if-error=60", True),
    "beyond it": ("max-age=60, stale-if-error=30", False),
    "no window": ("max-age=60, stale-if-error=0", False),
    "must-revalidate": ("max-age=60, stale-if-error=60, must-revalidate", False),
    "proxy-revalidate": ("max-age=60, stale-if-error=60, proxy-revalidate", False),
    "s-maxage": ("s-maxage=60, stale-if-error=60", False),
    "no-cache": ("max-age=60, stale-if-error=60, no-cache", False),
}


@pytest.mark.parametrize("status", ["500 Internal Server Error", "502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"])
@pytest.mark.parametrize("name", IF_ERROR)
def test_stale_if_error(proxy, back, path, name, status):
    directives, served = IF_ERROR[name]
    path = f"{path}-{status[:3]}"
    back.on(path, numbered([*STALE_BY_40, ("Cache-Control", directives)]))
    proxy.get(path)
    back.on(path, lambda request: request.answer("trouble", status))
    response = proxy.get(path)
    assert response.status == (200 if served else int(status[:3]))
    assert (status_of(response).get("detail") == "stale-if-error") == served


@pytest.mark.parametrize("status", [501, 505, 599, 404])
def test_other_errors_are_not_what_stale_if_error_is_for(proxy, back, path, status):
    back.on(path, numbered([*STALE_BY_40, ("Cache-Control", "max-age=60, stale-if-error=600")]))
    proxy.get(path)
    back.on(path, lambda request: request.answer("trouble", f"{status} X"))
    assert proxy.get(path).status == status
