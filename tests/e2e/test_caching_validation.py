"""Conditional requests (RFC 9110 §13) against stored responses, and what we send to validate them (RFC 9111 §4.3)."""
import pytest

from harness.status import status_of

MODIFIED, EARLIER, LATER = "Tue, 01 Jul 2025 10:00:00 GMT", "Tue, 01 Jul 2025 09:59:59 GMT", "Tue, 01 Jul 2025 10:00:01 GMT"
BACKSLASH = '"a\\"'

CONDITIONS = {
    "the entity tag": ('"1"', {"If-None-Match": '"1"'}, 304),
    "another": ('"1"', {"If-None-Match": '"2"'}, 200),
    "first of a list": ('"1"', {"If-None-Match": '"1", "2"'}, 304),
    "last of a list": ('"1"', {"If-None-Match": '"2" ,"3",\t"1"'}, 304),
    "star": ('"1"', {"If-None-Match": "*"}, 304),
    "star in a list is none": ('"1"', {"If-None-Match": '*, "2"'}, 200),
    "weak against strong": ('"1"', {"If-None-Match": 'W/"1"'}, 304),
    "strong against weak": ('W/"1"', {"If-None-Match": '"1"'}, 304),
    "weak against weak": ('W/"1"', {"If-None-Match": 'W/"1"'}, 304),
    "a lower case w": ('W/"1"', {"If-None-Match": 'w/"1"'}, 200),
    "unquoted": ('"1"', {"If-None-Match": "1"}, 200),
    "never closed": ('"1"', {"If-None-Match": '"1'}, 200),
    "junk, then it": ('"1"', {"If-None-Match": 'x, "1"'}, 304),
    "a backslash at its end": (BACKSLASH, {"If-None-Match": BACKSLASH}, 304),
    "behind one with a backslash": ('"1"', {"If-None-Match": f'{BACKSLASH}, "1"'}, 304),
    "a comma in it": ('"1,2"', {"If-None-Match": '"1,2"'}, 304),
    "half of one with a comma": ('"1,2"', {"If-None-Match": '"1'}, 200),
    "obs-text": ('"\xfc"', {"If-None-Match": '"\xfc"'}, 304),
    "no entity tag is stored": (None, {"If-None-Match": '"1"'}, 200),
    "not modified since": ('"1"', {"If-Modified-Since": MODIFIED}, 304),
    "nor later": ('"1"', {"If-Modified-Since": LATER}, 304),
    "modified since": ('"1"', {"If-Modified-Since": EARLIER}, 200),
    "no date": ('"1"', {"If-Modified-Since": "yesterday"}, 200),
    "two dates": ('"1"', [("If-Modified-Since", LATER)] * 2, 200),
    "If-None-Match goes first": ('"1"', {"If-None-Match": '"2"', "If-Modified-Since": LATER}, 200),
    "If-None-Match goes first, and holds": ('"1"', {"If-None-Match": '"1"', "If-Modified-Since": EARLIER}, 304),
    "If-Match": ('"1"', {"If-Match": '"1"'}, 200),
    "If-Match, another": ('"1"', {"If-Match": '"2"'}, 412),
    "If-Match is strong": ('W/"1"', {"If-Match": 'W/"1"'}, 412),
    "If-Match, star": ('"1"', {"If-Match": "*"}, 200),
    "If-Unmodified-Since": ('"1"', {"If-Unmodified-Since": MODIFIED}, 200),
    "If-Unmodified-Since, earlier": ('"1"', {"If-Unmodified-Since": EARLIER}, 412),
    "If-Match beats If-Unmodified-Since": ('"1"', {"If-Match": '"1"', "If-Unmodified-Since": EARLIER}, 200),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_conditions(proxy, back, path, name):
    etag, fields, status = CONDITIONS[name]
    validators = [("Last-Modified", MODIFIED)] + ([("ETag", etag)] if etag else [])
    back.on(path, lambda request: request.answer("body", fields=[("Cache-Control", "max-age=60"), *validators]))
    pairs = [(n, v) for n, v in (fields.items() if isinstance(fields, dict) else fields)]
    lines = "".join(f"{n}: {v}\r\n" for n, v in pairs)
    for number in range(2):  # as it is fetched, and from what is stored
        with proxy.connect() as client:
            response = client.send(f"GET {path} HTTP/1.1\r\nHost: site.test\r\n{lines}\r\n".encode("latin-1")).response()
        assert response.status == status, (number, response)
        assert response.body == (b"body" if status == 200 else b"")
        if status == 304:
            assert response.get("etag") == etag and response.get("content-length") is None and response.get("last-modified") in (None, MODIFIED)
    assert back.count(path) == 1 and not back.last(path).names() & {n.lower() for n, _ in pairs}


@pytest.mark.parametrize("etag", ['"1"', 'W/"1"', BACKSLASH, '"\xfc"'])
def test_we_validate_with_what_is_stored(proxy, back, path, etag):
    def handler(request):
        if request.get("if-none-match") == etag and request.get("if-modified-since") == MODIFIED:
            request.answer(status="304 Not Modified", fields=[("ETag", etag), ("Age", "0"), ("X", "2"), ("Content-Length", "999"), ("Content-Encoding", "gzip")], length=False)
        else:
            fields = [("Cache-Control", "max-age=60"), ("Age", "100"), ("ETag", etag), ("Last-Modified", MODIFIED), ("X", "1"), ("Y", "1")]
            request.answer("body", fields=fields)

    back.on(path, handler)
    proxy.get(path, fields={"If-None-Match": '"client"'})
    response = proxy.get(path, fields={"If-None-Match": '"client"'})
    assert status_of(response)["fwd-status"] == "304" and response.status == 200 and response.body == b"body"
    response = proxy.get(path)
    assert "hit" in status_of(response) and response.get("x") == "2" and response.get("y") == "1"
    assert response.get("content-length") == "4" and response.get("content-encoding") is None
    assert back.count(path) == 2


def test_what_is_no_entity_tag_is_not_sent(proxy, back, path):
    back.on(path, lambda request: request.answer("body", fields=[("Cache-Control", "max-age=60"), ("Age", "100"), ("ETag", "unquoted"), ("Last-Modified", MODIFIED)]))
    proxy.get(path)
    proxy.get(path)
    assert back.last(path).get("if-modified-since") == MODIFIED


def test_fields_that_vary_go_along_when_a_variant_is_validated(proxy, back, path):
    def handler(request):
        if request.get("if-none-match"):
            request.answer(status="304 Not Modified", fields={"ETag": f'"{request.get("abc")}"', "Age": "0"}, length=False)
        else:
            request.answer(request.get("abc"), fields={"Cache-Control": "max-age=60", "Age": "100", "ETag": f'"{request.get("abc")}"', "Vary": "Abc"})

    back.on(path, handler)
    for abc in ("1", "2"):
        proxy.get(path, fields={"Abc": abc})
    for abc in ("1", "2"):
        response = proxy.get(path, fields={"Abc": abc})
        assert status_of(response)["fwd-status"] == "304" and response.body == abc.encode()
        assert back.last(path).get("abc") == abc and back.last(path).get("if-none-match") == f'"{abc}"'
    assert proxy.get(path, fields={"Abc": "3"}).body == b"3" and back.last(path).get("if-none-match") is None
