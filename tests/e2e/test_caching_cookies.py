"""Cookies of requests: ignored, unless the site's rules name them."""
import pytest

from harness.status import status_of

FRESH = {"Cache-Control": "max-age=60"}


def echo(request):
    """Answers with the cookies that it was sent."""
    request.answer(f"{request.get('cookie', 'none')}", fields=FRESH)


def get(outrigger, path, cookie=None, **options):
    fields = {} if cookie is None else {"Cookie": cookie}
    return outrigger.get(path, fields={**fields, **options.pop("fields", {})}, **options)


def test_cookies_are_ignored_without_rules(proxy, back, path):
    back.on(path, echo)
    assert get(proxy, path, "a=1").body == b"a=1"
    for cookie in ("a=2", "session=x", None):
        response = get(proxy, path, cookie)
        assert response.body == b"a=1" and "hit" in status_of(response)


@pytest.fixture(scope="module")
def keyed(back, make_module_outrigger):
    return make_module_outrigger(origin=back.url, site={"cache": {"bypass_cookies": ["session", "wp_*"], "key_cookies": ["lang", "tier"]}})


@pytest.mark.parametrize("cookie", ["session=1", "a=1; session=2", "wp_login=1", "a=1;wp_=2"])
def test_a_cookie_bypasses(keyed, back, path, cookie):
    back.on(path, echo)
    assert get(keyed, path).body == b"none"
    for _ in range(2):
        response = get(keyed, path, cookie)
        assert response.body == cookie.encode()
        assert status_of(response)["fwd"] == "bypass" and status_of(response)["detail"] == "cookie"
    response = get(keyed, path, "other=1; wp=2; Session=3")
    assert "hit" in status_of(response) and response.body == b"none"


def test_named_cookies_select_the_variant(keyed, back, path):
    back.on(path, echo)
    sent = ["lang=de; x=1", "lang=fr", "lang=de; tier=2", None, "lang="]
    for cookie in sent:
        response = get(keyed, path, cookie)
        assert response.body == (cookie or "none").encode() and status_of(response)["fwd"] in ("uri-miss", "vary-miss")
    for cookie, body in [("x=9; lang=de", b"lang=de; x=1"), ("lang=fr; y=1", b"lang=fr"), ("tier=2; lang=de", b"lang=de; tier=2"),
                         ("z=1", b"none"), ("lang", b"lang=")]:
        response = get(keyed, path, cookie)
        assert "hit" in status_of(response) and response.body == body
    assert back.count(path) == len(sent)


def test_several_cookies_of_one_name_are_a_value_of_their_own(keyed, back, path):
    """Origins differ in which one they take."""
    back.on(path, echo)
    for cookie in ("lang=de", "lang=de; lang=fr", "lang=fr; lang=de"):
        assert get(keyed, path, cookie).body == cookie.encode()
    assert back.count(path) == 3


def test_they_select_beside_vary(keyed, back, path):
    back.on(path, lambda request: request.answer(f"{request.get('cookie')} {request.get('accept')}", fields={**FRESH, "Vary": "Accept"}))
    for cookie in ("lang=de", "lang=fr"):
        for accept in ("text/html", "image/png"):
            body = f"{cookie} {accept}".encode()
            assert get(keyed, path, cookie, fields={"Accept": accept}).body == body
            assert get(keyed, path, cookie, fields={"Accept": accept}).body == body
    assert back.count(path) == 4


def test_a_purge_reaches_all_of_them(keyed, back, path):
    back.on(path, echo)
    for cookie in ("lang=de", "lang=fr", None):
        get(keyed, path, cookie)
    assert keyed.get(path, method="PURGE").status == 200
    for cookie in ("lang=de", "lang=fr", None):
        assert "hit" not in status_of(get(keyed, path, cookie))
    assert back.count(path) == 6
