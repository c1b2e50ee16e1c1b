"""Which fields of a response are stored (RFC 9111 §3.1), and which are the first client's alone (§5.2.2.4, §5.2.2.7)."""
import itertools

import pytest

from harness.origin import CloseConnection
from harness.status import status_of

PERSONAL = {
    "no-cache with several": ('no-cache="A, b, set-cookie"', ["c"]),
    "private with a name": ('private="set-cookie"', ["a", "b", "c"]),
    "both": ('private="set-cookie", no-cache=c', ["a", "b"]),
}


@pytest.mark.parametrize("name", PERSONAL)
def test_named_fields_are_the_first_clients_alone(proxy, back, path, name):
    directive, kept = PERSONAL[name]
    fields = [("Cache-Control", f"{directive}, max-age=60"), ("a", "1"), ("b", "2"), ("c", "3"), ("Set-Cookie", "s=1"), ("Set-Cookie", "t=2")]
    back.on(path, lambda request: request.answer("body", fields=fields))
    first = proxy.get(path)
    assert status_of(first)["stored"] is True
    assert [first.get(n) for n in "abc"] == ["1", "2", "3"] and first.all("set-cookie") == ["s=1", "t=2"]
    for _ in range(2):
        later = proxy.get(path)
        assert "hit" in status_of(later) and later.body == b"body"
        assert [n for n in ("a", "b", "c", "set-cookie") if later.all(n)] == kept
    assert back.count(path) == 1


def test_a_named_field_of_a_304_is_for_the_one_who_asked(proxy, back, path):
    count = itertools.count(1)

    def handler(request):
        number = next(count)
        fields = [("Cache-Control", 'private="x-user", max-age=60'), ("ETag", '"1"'), ("X-User", f"user {number}")]
        if request.get("if-none-match"):
            request.answer(status="304 Not Modified", fields=fields + [("Age", "0")], length=False)
        else:
            request.answer("body", fields=fields + [("Age", "100")])

    back.on(path, handler)
    assert proxy.get(path).get("x-user") == "user 1"
    response = proxy.get(path)
    assert status_of(response)["fwd-status"] == "304" and response.get("x-user") == "user 2" and response.body == b"body"
    response = proxy.get(path)
    assert "hit" in status_of(response) and response.get("x-user") is None


def test_a_304_does_not_bring_the_digest_of_its_empty_content(proxy, back, path):
    def handler(request):
        confirms = request.get("if-none-match") is not None
        digests = [("Content-Digest", f"sha-256=:{confirms}=:"), ("Content-MD5", f"{confirms}=="), ("Repr-Digest", f"sha-256=:{confirms}=:")]
        fields = [("Cache-Control", "max-age=60"), ("ETag", '"1"'), ("Age", "0" if confirms else "100"), *digests]
        if confirms:
            request.answer(status="304 Not Modified", fields=fields, length=False)
        else:
            request.answer("body", fields=fields)

    back.on(path, handler)
    for outcome in ("uri-miss", "fwd-status=304", "hit"):
        response = proxy.get(path)
        assert outcome in response.get("cache-status") and response.body == b"body"
        assert response.all("content-digest") == ["sha-256=:False=:"] and response.all("content-md5") == ["False=="]
    assert response.all("repr-digest") == ["sha-256=:True=:"]


def test_a_304_with_another_strong_entity_tag_updates_nothing(proxy, back, path):
    def handler(request):
        if request.get("if-none-match"):
            request.answer(status="304 Not Modified", fields={"ETag": '"2"', "Cache-Control": "max-age=600", "X": "new"}, length=False)
        else:
            request.answer("body", fields={"ETag": '"1"', "Cache-Control": "max-age=60", "Age": "100", "X": "old"})

    back.on(path, handler)
    proxy.get(path)
    for _ in range(2):
        response = proxy.get(path)
        assert response.status == 200 and response.body == b"body" and response.get("x") == "old" and response.get("etag") == '"1"'
        assert "stored" not in status_of(response) and "hit" not in status_of(response)
    assert back.last(path).get("if-none-match") == '"1"' and back.count(path) == 3


def test_fields_come_back_byte_for_byte_and_in_order(proxy, back, path):
    fields = [("X-Odd", "a,,b ;  c"), ("x-lower", "\xe9\xff"), ("X-Odd", ""), ("Content-Range", "bytes 0-1/2"), ("X-Odd", "\ttabs\there"), ("WWW-Authenticate", "x"),
              ("Public-Key-Pins", "1"), ("Clear-Site-Data", "\"cookies\""), ("Content-Location", "/x"), ("Warning", "199 - x"), ("Age-Old", "1"), ("Link", "<a>"), ("Link", "<b>")]
    back.on(path, lambda request: request.answer("ab", fields=[("Cache-Control", "max-age=60")] + fields))
    proxy.get(path)
    hit = proxy.get(path)
    names = [n for n, _ in fields]
    assert "hit" in status_of(hit) and [(n, v) for n, v in hit.fields if n in names] == [(n, v.strip()) for n, v in fields]


HOP_BY_HOP = ["Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Connection", "Proxy-Authentication-Info", "TE", "Trailer", "Upgrade"]


@pytest.mark.parametrize("name", HOP_BY_HOP)
def test_hop_by_hop_fields_are_neither_sent_on_nor_stored(proxy, back, path, name):
    value = "keep-alive" if name == "Connection" else "x"
    back.on(path, lambda request: request.answer("ab", fields=[("Cache-Control", "max-age=60"), (name, value), ("X", "1")]))
    for _ in range(2):
        response = proxy.get(path)
        assert response.get(name) in (None, "keep-alive" if name == "Connection" else None) and response.get("x") == "1"
    assert "hit" in status_of(response)


def test_fields_named_by_connection_are_not_stored(proxy, back, path):
    fields = [("Cache-Control", "max-age=60"), ("Connection", "a, B"), ("Connection", "d"), ("A", "1"), ("b", "2"), ("c", "3"), ("D", "4")]
    back.on(path, lambda request: request.answer("ab", fields=fields))
    for _ in range(2):
        response = proxy.get(path)
        assert [n for n in ("a", "b", "c", "d") if response.all(n)] == ["c"]
    assert "hit" in status_of(response)


@pytest.mark.parametrize("coding", ["nonsense", "identity", "Transfer-Encoding-store-value"])
def test_a_transfer_coding_that_is_none_is_read_until_the_end_and_framed_anew(proxy, back, path, coding):
    def handler(request):
        request.send(f"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: {coding}\r\n\r\n2\r\nab\r\n".encode())
        raise CloseConnection

    back.on(path, handler)
    first, second = proxy.get(path), proxy.get(path)
    assert first.body == second.body == b"2\r\nab\r\n" and first.get("transfer-encoding") in ("chunked", None)
    assert "hit" in status_of(second) and second.get("transfer-encoding") is None and second.get("content-length") == "7"


@pytest.mark.parametrize("coding", ["gzip", "gzip, chunked", "xchunked", "chunked, nonsense"])
def test_a_transfer_coding_that_is_one_is_refused(proxy, back, path, coding):
    def handler(request):
        request.send(f"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n".encode())
        raise CloseConnection

    back.on(path, handler)
    assert proxy.get(path).status == 502
