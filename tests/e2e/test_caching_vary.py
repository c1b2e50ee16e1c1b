"""Vary (RFC 9111 §4.1), its long tail."""
import itertools
import socket

import pytest

from harness.http import Connection
from harness.status import status_of

FRESH = ("Cache-Control", "max-age=60")


def varying(*lines, extra=()):
    count = itertools.count(1)
    return lambda request: request.answer(f"answer {next(count)}", fields=[FRESH, *(("Vary", line) for line in lines), *extra])


STAR = {
    "alone": ["*"],
    "last in a list": ["Accept, *"],
    "first in a list": ["*, Accept"],
    "among empty members": [",, * ,"],
    "on another line": ["Accept", "*"],
    "on the first line": ["*", "Accept"],
    "what is no field name": ["Acc ept"],
}


@pytest.mark.parametrize("name", STAR)
def test_a_star_anywhere_is_not_stored(proxy, back, path, name):
    back.on(path, varying(*STAR[name]))
    for _ in range(2):
        assert status_of(proxy.get(path))["detail"] == "vary-star"


SAME = {
    "no request has the field": (["Foo"], {}, {}),
    "the field is unknown to us": (["X-Foo"], {"X-Foo": "a b"}, {"X-Foo": "a b"}),
    "case of names": (["FOO, bAr"], {"Foo": "1", "Bar": "2"}, {"bar": "2", "foo": "1"}),
    "on several lines": (["Foo", "Bar"], {"Foo": "1", "Bar": "2"}, {"Bar": "2", "Foo": "1"}),
    "empty members": ([", ,Foo,,", ""], {"Foo": "1"}, {"Foo": "1"}),
    "an empty Vary": ([""], {"Foo": "1"}, {"Foo": "2"}),
    "white space in a list": (["Foo"], {"Foo": "1,2"}, {"Foo": " 1 ,  2 "}),
    "another field": (["Foo"], {"Foo": "1", "Other": "2"}, {"Foo": "1", "Other": "3"}),
    "order of languages": (["Accept-Language"], {"Accept-Language": "en, DE"}, {"Accept-Language": "de,EN"}),
    "weights of languages": (["Accept-Language"], {"Accept-Language": "en;q=0.5, de"}, {"Accept-Language": "de;q=1.0,en; q=0.500"}),
    "codings that no origin knows": (["Accept-Encoding"], {"Accept-Encoding": "gzip, foo"}, {"Accept-Encoding": "bar;q=0.1, x-gzip"}),
    "weights of codings": (["Accept-Encoding"], {"Accept-Encoding": "gzip;q=0.8, br;q=0.9"}, {"Accept-Encoding": "br, gzip;q=0.1"}),
}


@pytest.mark.parametrize("name", SAME)
def test_the_same_variant(proxy, back, path, name):
    vary, first, second = SAME[name]
    back.on(path, varying(*vary))
    assert status_of(proxy.get(path, fields=first))["stored"] is True
    response = proxy.get(path, fields=second)
    assert "hit" in status_of(response) and response.body == b"answer 1"


OTHER = {
    "missing and empty": (["Foo"], {}, {"Foo": ""}),
    "empty and missing": (["Foo"], {"Foo": ""}, {}),
    "another value": (["Foo"], {"Foo": "1"}, {"Foo": "2"}),
    "case of a value": (["Foo"], {"Foo": "a"}, {"Foo": "A"}),
    "order of a list": (["Foo"], {"Foo": "a, b"}, {"Foo": "b, a"}),
    "one of three": (["Foo, Bar, Baz"], {"Foo": "1", "Bar": "abc", "Baz": "3"}, {"Foo": "1", "Bar": "abcd", "Baz": "3"}),
    "values that change places": (["Foo, Bar"], {"Foo": "1", "Bar": "2"}, {"Foo": "2", "Bar": "1"}),
    "weights of languages": (["Accept-Language"], {"Accept-Language": "en;q=0.5, de"}, {"Accept-Language": "de;q=0.5, en"}),
    "a coding that is refused": (["Accept-Encoding"], {"Accept-Encoding": "gzip"}, {"Accept-Encoding": "gzip;q=0"}),
    "identity refused": (["Accept-Encoding"], {"Accept-Encoding": "gzip"}, {"Accept-Encoding": "gzip, identity;q=0"}),
}


@pytest.mark.parametrize("name", OTHER)
def test_another_variant(proxy, back, path, name):
    vary, first, second = OTHER[name]
    back.on(path, varying(*vary))
    proxy.get(path, fields=first)
    response = proxy.get(path, fields=second)
    assert status_of(response)["fwd"] == "vary-miss" and response.body == b"answer 2"
    for fields, body in ((first, b"answer 1"), (second, b"answer 2")):
        assert proxy.get(path, fields=fields).body == body
    assert back.count(path) == 2


def test_lines_of_a_field_are_one_list(proxy, back, path):
    back.on(path, varying("Foo"))
    with proxy.connect() as client:
        for lines in ("Foo: 1, 2\r\n", "Foo: 1\r\nFoo: 2\r\n", "Foo: 1\r\nX: y\r\nfoo:2\r\n"):
            client.send(f"GET {path} HTTP/1.1\r\nHost: site.test\r\n{lines}\r\n")
            assert client.response().body == b"answer 1"


def test_a_coding_by_which_clients_are_not_told_apart_is_not_shared(proxy, back, path):
    back.on(path, varying("Accept-Encoding", extra=[("Content-Encoding", "foo")]))
    for _ in range(2):
        assert status_of(proxy.get(path, fields={"Accept-Encoding": "foo"}))["detail"] == "vary-coding"
    assert "stored" not in status_of(proxy.get(path, fields={"Accept-Encoding": "gzip"}))


@pytest.mark.parametrize("name", ["X-Forwarded-For", "X-Real-IP"])
def test_what_varies_on_the_clients_address_is_for_nobody_else(proxy, back, path, name):
    """The origin is told the address by a field that this side writes: the clients' requests, which have none, look alike."""
    back.on(path, lambda request: request.answer("for " + request.get(name), fields=[FRESH, ("Vary", name)]))
    for address in ("127.0.0.1", "127.0.0.2"):
        connection = Connection.__new__(Connection)
        connection.socket, connection.buffer = socket.create_connection(("127.0.0.1", proxy.port), source_address=(address, 0), timeout=15), b""
        with connection:
            assert connection.request(path).body.decode() == f"for {address}"


def test_what_is_in_the_key_is_no_variant(proxy, back, path):
    """Else a client could fill the places of all variants with values that the origin is never shown."""
    back.on(path, varying("X-Forwarded-Proto"))
    for proto in ("http", "https", "gopher"):
        assert proxy.get(path, fields={"X-Forwarded-Proto": proto}).body == b"answer 1"


def test_the_most_recent_one_is_used(proxy, back, path):
    """RFC 9111 §4.1: of responses that match, the latest; also when they vary on different fields."""
    back.on(path, lambda request: request.answer("old", fields=[FRESH, ("Age", "100"), ("ETag", '"1"'), ("Vary", "Foo")]))
    proxy.get(path, fields={"Foo": "1"})
    back.on(path, lambda request: request.answer("new", fields=[FRESH, ("ETag", '"2"'), ("Vary", "Bar")]))
    assert proxy.get(path, fields={"Foo": "1"}).body == b"new"
    for foo in ("1", "2"):
        response = proxy.get(path, fields={"Foo": foo})
        assert "hit" in status_of(response) and response.body == b"new"
