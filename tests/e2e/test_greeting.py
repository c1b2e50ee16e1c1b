"""A listener on which clients may speak more than one protocol: what they say first decides, and nothing of it is lost."""
import pytest

from harness.h2 import serve_http2
from harness.outrigger import SLOW
from harness.poll import until


@pytest.fixture
def either(make_outrigger, origin):
    """Speaks HTTP/1 and HTTP/2 on one port."""

    origin.on("/page", b"hello")
    return lambda **config: serve_http2(make_outrigger, config, origin=origin.url)


def test_http1_is_served_where_http2_is(either):
    outrigger = either()
    with outrigger.connect() as client:
        for _ in range(2):
            client.send("GET /page HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.response().body == b"hello"


@pytest.mark.parametrize("method", ["POST", "PRI", "P"])
def test_a_method_that_begins_like_the_preface(either, method):
    outrigger = either()
    with outrigger.connect() as client:
        for byte in f"{method} /page HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".encode():
            client.send(bytes([byte]))
        assert client.response().status == 200


def test_who_says_nothing_or_half_of_it_is_closed_in_time(either):
    outrigger = either(timeouts={"header": "200ms"})
    for said in b"", b"PRI * HT":
        with outrigger.connect(timeout=10 * SLOW) as client:
            client.send(said)
            assert client.read_to_end() == b""


def test_a_reload_changes_what_the_next_client_may_speak(either):
    outrigger = either()
    with outrigger.connect() as early:
        outrigger.config["listen"][0]["http2"] = False
        outrigger.write_config()
        outrigger.reload()
        until(lambda: refuses_prior_knowledge(outrigger), what="the new configuration to serve")
        assert early.send("GET /page HTTP/1.1\r\nHost: a\r\n\r\n").response().body == b"hello"


def refuses_prior_knowledge(outrigger):
    with outrigger.connect() as client:
        return client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").read_exactly(9) == b"HTTP/1.1 "


def is_turned_away(outrigger):
    """Or served."""
    with outrigger.connect() as client:
        return client.send("GET /page HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").response().status == 503


def test_clients_that_wait_are_counted_and_let_go(either):
    outrigger = either(limits={"connections": 2})
    with outrigger.connect() as first, outrigger.connect() as second:
        until(lambda: is_turned_away(outrigger), what="both to be counted")
        first.send("GET /page HTTP/1.1\r\nHost: a\r\n\r\n")
        assert first.response().body == b"hello"
        outrigger.stop()
        assert second.read_to_end() == b""
