"""RFC 9113 by the book, frame by frame: what a client may do is served, what it must not is answered by the error that the RFC asks for."""
import struct

import pytest

from harness.h2 import *


@pytest.fixture(scope="module")
def server(back, make_module_outrigger):
    back.on("/page", b"hello")
    back.on("/long", b"x" * 100_000)
    back.on("/up", lambda request: request.answer(request.body, fields={"Cache-Control": "no-store"}))
    return serve_http2(make_module_outrigger, origin=back.url)


@pytest.fixture
def client(server):
    with H2(server.port) as client:
        yield client


def raw(kind, flags=0, stream=0, payload=b""):
    return lambda client: client.send(frame(kind, flags, stream, payload))


def after_request(*frames, ends=True, path="/page"):
    """Opens stream 1, then these frames."""

    def act(client):
        client.ask(path, ends, method="GET" if ends else "POST")
        client.try_to_send(*frames)

    return act


def after_response(*frames):
    def act(client):
        client.response(client.ask())
        client.try_to_send(*frames)

    return act


PRIORITY_PAYLOAD = struct.pack(">IB", 0, 15)
OTHER_REQUEST = block(request())

CONNECTION_ERRORS = {
    # §3.4, §4: frames
    "a frame larger than the maximum": (raw(DATA, 0, 1, b"x" * 16385), (FRAME_SIZE_ERROR, PROTOCOL_ERROR)),
    "a header frame larger than the maximum": (raw(HEADERS, END_HEADERS | END_STREAM, 1, OTHER_REQUEST.ljust(16385, b"\x00")), (FRAME_SIZE_ERROR, COMPRESSION_ERROR)),
    # §4.3: field sections
    "a field section that cannot be decoded": (raw(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), (COMPRESSION_ERROR,)),
    "an index beyond the table": (raw(HEADERS, END_HEADERS | END_STREAM, 1, b"\xfe"), (COMPRESSION_ERROR,)),
    "index zero": (raw(HEADERS, END_HEADERS | END_STREAM, 1, b"\x80"), (COMPRESSION_ERROR,)),
    "a table size beyond the setting": (raw(HEADERS, END_HEADERS | END_STREAM, 1, b"\x3f" + b"\xe1\xff\x7f" + OTHER_REQUEST), (COMPRESSION_ERROR,)),
    "a table size behind a field": (raw(HEADERS, END_HEADERS | END_STREAM, 1, OTHER_REQUEST + b"\x20"), (COMPRESSION_ERROR,)),
    "a Huffman string with too much padding": (raw(HEADERS, END_HEADERS | END_STREAM, 1, b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff"), (COMPRESSION_ERROR,)),
    "a Huffman string with EOS": (raw(HEADERS, END_HEADERS | END_STREAM, 1, b"\x00\x85\xf2\xb2\x4a\x87\xff\xff\xff\xfd\x25\x42\x7f"), (COMPRESSION_ERROR,)),
    "a field section that is cut": (raw(HEADERS, END_HEADERS | END_STREAM, 1, OTHER_REQUEST[:-3]), (COMPRESSION_ERROR,)),
    "another frame within a field section": (lambda c: c.send(frame(HEADERS, END_STREAM, 1, OTHER_REQUEST), frame(PRIORITY, 0, 1, PRIORITY_PAYLOAD)), (PROTOCOL_ERROR,)),
    "another stream's headers within a field section": (lambda c: c.send(frame(HEADERS, END_STREAM, 1, OTHER_REQUEST), frame(HEADERS, END_HEADERS | END_STREAM, 3, OTHER_REQUEST)), (PROTOCOL_ERROR,)),
    # §5.1: states
    "DATA on an idle stream": (raw(DATA, END_STREAM, 1, b"x"), (PROTOCOL_ERROR,)),
    "RST_STREAM on an idle stream": (raw(RST_STREAM, 0, 1, b"\0\0\0\x08"), (PROTOCOL_ERROR,)),
    "WINDOW_UPDATE on an idle stream": (raw(WINDOW_UPDATE, 0, 1, b"\0\0\0\x08"), (PROTOCOL_ERROR,)),
    "CONTINUATION on an idle stream": (raw(CONTINUATION, END_HEADERS, 1, OTHER_REQUEST), (PROTOCOL_ERROR,)),
    "a request on an even stream": (raw(HEADERS, END_HEADERS | END_STREAM, 2, OTHER_REQUEST), (PROTOCOL_ERROR,)),
    "a stream lower than one before": (lambda c: c.send(frame(HEADERS, END_HEADERS | END_STREAM, 5, OTHER_REQUEST), frame(HEADERS, END_HEADERS | END_STREAM, 3, OTHER_REQUEST)), (PROTOCOL_ERROR, STREAM_CLOSED)),
    "a stream that was left out": (lambda c: c.send(frame(HEADERS, END_HEADERS | END_STREAM, 5, OTHER_REQUEST), frame(DATA, END_STREAM, 3, b"x")), (PROTOCOL_ERROR,)),
    "DATA on an even stream": (raw(DATA, END_STREAM, 2, b"x"), (PROTOCOL_ERROR,)),
    "RST_STREAM on an even stream": (raw(RST_STREAM, 0, 2, b"\0\0\0\x08"), (PROTOCOL_ERROR,)),
    "WINDOW_UPDATE on an even stream": (raw(WINDOW_UPDATE, 0, 2, b"\0\0\0\x08"), (PROTOCOL_ERROR,)),
    "DATA behind a reset": (after_request(reset(1), frame(DATA, 0, 1, b"x"), ends=False, path="/up"), (STREAM_CLOSED,)),
    "HEADERS behind a reset": (after_request(reset(1), frame(HEADERS, END_HEADERS | END_STREAM, 1, OTHER_REQUEST), ends=False, path="/up"), (STREAM_CLOSED,)),
    "a ping within a field section": (lambda c: c.send(frame(HEADERS, END_STREAM, 1, OTHER_REQUEST), frame(PING, payload=b"12345678")), (PROTOCOL_ERROR,)),
    "an unknown frame within a field section": (lambda c: c.send(frame(HEADERS, END_STREAM, 1, OTHER_REQUEST), frame(0x16, 0, 0, b"x")), (PROTOCOL_ERROR,)),
    "settings within a field section": (lambda c: c.send(frame(HEADERS, END_STREAM, 1, OTHER_REQUEST), settings()), (PROTOCOL_ERROR,)),
    "a table size behind an indexed field": (raw(HEADERS, END_HEADERS | END_STREAM, 1, b"\x82\x20\x86\x84"), (COMPRESSION_ERROR,)),
    "a field section that ends within a field": (lambda c: c.send(frame(HEADERS, END_STREAM, 1, OTHER_REQUEST[:-3]), frame(CONTINUATION, END_HEADERS, 1)), (COMPRESSION_ERROR,)),
    "a field section of a stream that is not wanted": (after_response(frame(RST_STREAM, 0, 1, b"\0\0\0\x08"), frame(HEADERS, END_HEADERS, 3, b"\xfe")), (COMPRESSION_ERROR,)),
    "a section that cannot be decoded in trailers": (after_request(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x80"), ends=False, path="/up"), (COMPRESSION_ERROR,)),
    # §6: frames of each type
    "an unknown frame larger than the maximum": (raw(0x16, 0, 0, b"x" * 16385), (FRAME_SIZE_ERROR,)),
    "DATA that is padded with nothing at all": (after_request(frame(DATA, PADDED, 1), ends=False, path="/up"), (FRAME_SIZE_ERROR, PROTOCOL_ERROR)),
    "DATA that is padding to the last byte": (after_request(frame(DATA, PADDED, 1, b"\x05hello"), frame(DATA, PADDED, 1, b"\x06hello"), ends=False, path="/up"), (PROTOCOL_ERROR,)),
    "HEADERS too short for their padding": (raw(HEADERS, END_HEADERS | END_STREAM | PADDED, 1), (FRAME_SIZE_ERROR, PROTOCOL_ERROR)),
    "HEADERS too short for their priority": (raw(HEADERS, END_HEADERS | END_STREAM | HAS_PRIORITY, 1, b"\0\0\0\0"), (FRAME_SIZE_ERROR,)),
    "HEADERS padded into their priority": (raw(HEADERS, END_HEADERS | END_STREAM | PADDED | HAS_PRIORITY, 1, b"\x02" + PRIORITY_PAYLOAD + b"\x82"), (PROTOCOL_ERROR,)),
    "RST_STREAM that is too long": (after_request(frame(RST_STREAM, 0, 1, b"\0\0\0\x08\0")), (FRAME_SIZE_ERROR,)),
    "a second acknowledgement of the settings": (lambda c: c.send(frame(SETTINGS, ACK), frame(SETTINGS, ACK)), (PROTOCOL_ERROR,)),
    "more settings than there can be": (lambda c: c.send(settings(*[(INITIAL_WINDOW_SIZE, n) for n in range(33)])), (ENHANCE_YOUR_CALM,)),
    "NO_RFC7540_PRIORITIES that is no flag": (lambda c: c.send(settings((NO_PRIORITIES, 2))), (PROTOCOL_ERROR,)),
    "NO_RFC7540_PRIORITIES that changes": (lambda c: c.send(settings((NO_PRIORITIES, 1))), (PROTOCOL_ERROR,)),
    "an initial window that opens a stream's too far": (lambda c: (c.ask("/up", False, method="POST"), c.try_to_send(window_update(1, 0x7FFFFFFF - 65535), settings((INITIAL_WINDOW_SIZE, 65536)))), (FLOW_CONTROL_ERROR,)),
    "PING that is too long": (raw(PING, 0, 0, b"123456789"), (FRAME_SIZE_ERROR,)),
    "WINDOW_UPDATE that is too long": (raw(WINDOW_UPDATE, 0, 0, b"\0\0\0\1\0"), (FRAME_SIZE_ERROR,)),
    "PUSH_PROMISE on an idle stream": (raw(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + OTHER_REQUEST), (PROTOCOL_ERROR,)),
    "PRIORITY of another size on an idle stream": (raw(PRIORITY, 0, 1, b"\0\0\0\1"), (FRAME_SIZE_ERROR,)),
    "DATA on stream 0": (raw(DATA, 0, 0, b"x"), (PROTOCOL_ERROR,)),
    "DATA with more padding than there is": (after_request(frame(DATA, END_STREAM | PADDED, 1, b"\x09hello"), ends=False, path="/up"), (PROTOCOL_ERROR,)),
    "HEADERS on stream 0": (raw(HEADERS, END_HEADERS | END_STREAM, 0, OTHER_REQUEST), (PROTOCOL_ERROR,)),
    "HEADERS with more padding than there is": (raw(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, b"\xff" + OTHER_REQUEST), (PROTOCOL_ERROR,)),
    "PRIORITY on stream 0": (raw(PRIORITY, 0, 0, PRIORITY_PAYLOAD), (PROTOCOL_ERROR,)),
    "RST_STREAM on stream 0": (raw(RST_STREAM, 0, 0, b"\0\0\0\x08"), (PROTOCOL_ERROR,)),
    "RST_STREAM of another size": (after_request(frame(RST_STREAM, 0, 1, b"\0\0\x08")), (FRAME_SIZE_ERROR,)),
    "SETTINGS on a stream": (raw(SETTINGS, 0, 1), (PROTOCOL_ERROR,)),
    "SETTINGS of another size": (raw(SETTINGS, 0, 0, b"\0\3\0"), (FRAME_SIZE_ERROR,)),
    "an acknowledgement with settings": (raw(SETTINGS, ACK, 0, b"\0\3\0\0\0\1"), (FRAME_SIZE_ERROR,)),
    "ENABLE_PUSH that is no flag": (lambda c: c.send(settings((ENABLE_PUSH, 2))), (PROTOCOL_ERROR,)),
    "INITIAL_WINDOW_SIZE too large": (lambda c: c.send(settings((INITIAL_WINDOW_SIZE, 1 << 31))), (FLOW_CONTROL_ERROR,)),
    "MAX_FRAME_SIZE too small": (lambda c: c.send(settings((MAX_FRAME_SIZE, 16383))), (PROTOCOL_ERROR,)),
    "MAX_FRAME_SIZE too large": (lambda c: c.send(settings((MAX_FRAME_SIZE, 1 << 24))), (PROTOCOL_ERROR,)),
    "ENABLE_CONNECT_PROTOCOL that is no flag": (lambda c: c.send(settings((ENABLE_CONNECT, 2))), (PROTOCOL_ERROR,)),
    "PUSH_PROMISE": (after_request(frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + OTHER_REQUEST), ends=False, path="/up"), (PROTOCOL_ERROR,)),
    "PING on a stream": (raw(PING, 0, 1, b"12345678"), (PROTOCOL_ERROR,)),
    "PING of another size": (raw(PING, 0, 0, b"1234567"), (FRAME_SIZE_ERROR,)),
    "GOAWAY on a stream": (raw(GOAWAY, 0, 1, b"\0" * 8), (PROTOCOL_ERROR,)),
    "GOAWAY of another size": (raw(GOAWAY, 0, 0, b"\0" * 7), (FRAME_SIZE_ERROR,)),
    "WINDOW_UPDATE of nothing for the connection": (raw(WINDOW_UPDATE, 0, 0, b"\0\0\0\0"), (PROTOCOL_ERROR,)),
    "WINDOW_UPDATE of another size": (raw(WINDOW_UPDATE, 0, 0, b"\0\0\1"), (FRAME_SIZE_ERROR,)),
    "the connection's window too large": (lambda c: c.send(window_update(0, 0x7FFFFFFF), window_update(0, 0x7FFFFFFF)), (FLOW_CONTROL_ERROR,)),
    "CONTINUATION on stream 0": (raw(CONTINUATION, END_HEADERS, 0, OTHER_REQUEST), (PROTOCOL_ERROR,)),
    "CONTINUATION behind a whole field section": (after_request(frame(CONTINUATION, END_HEADERS, 1, literal("a", "b")), ends=False, path="/up"), (PROTOCOL_ERROR,)),
    "CONTINUATION behind DATA": (lambda c: (c.ask("/up", False), c.data(1, b"x"), c.send(frame(CONTINUATION, END_HEADERS, 1, literal("a", "b")))), (PROTOCOL_ERROR,)),
    "CONTINUATION on another stream": (lambda c: c.send(frame(HEADERS, END_STREAM, 1, OTHER_REQUEST), frame(CONTINUATION, END_HEADERS, 3, literal("a", "b"))), (PROTOCOL_ERROR,)),
    # RFC 9218 §7.1
    "PRIORITY_UPDATE that is too short": (raw(PRIORITY_UPDATE, 0, 0, b"\0\0\0"), (FRAME_SIZE_ERROR,)),
    "PRIORITY_UPDATE of stream 0": (raw(PRIORITY_UPDATE, 0, 0, b"\0\0\0\0u=1"), (PROTOCOL_ERROR,)),
    "PRIORITY_UPDATE of a push": (raw(PRIORITY_UPDATE, 0, 0, b"\0\0\0\2u=1"), (PROTOCOL_ERROR,)),
    "PRIORITY_UPDATE on a stream": (raw(PRIORITY_UPDATE, 0, 1, struct.pack(">I", 1) + b"u=1"), (PROTOCOL_ERROR,)),
}


@pytest.mark.parametrize("what", CONNECTION_ERRORS)
def test_a_connection_error(client, what):
    act, codes = CONNECTION_ERRORS[what]
    act(client)
    goaway = client.goaway()
    assert goaway is not None and goaway.code in codes


STREAM_ERRORS = {
    "half-closed: DATA": (after_request(frame(DATA, END_STREAM, 1, b"x"), path="/long"), (STREAM_CLOSED,)),
    "half-closed: HEADERS": (after_request(frame(HEADERS, END_HEADERS | END_STREAM, 1, OTHER_REQUEST), path="/long"), (STREAM_CLOSED, PROTOCOL_ERROR)),
    "PRIORITY of another size": (after_request(frame(PRIORITY, 0, 1, b"\0\0\0\1"), ends=False, path="/up"), (FRAME_SIZE_ERROR,)),
    "a stream's window exceeded": (lambda c: (c.ask("/nobody-reads", False, method="POST", authority="unknown.invalid", fields=[("expect", "100-continue")]), c.try_to_send(*[frame(DATA, 0, 1, b"x" * 16384)] * 5)), (FLOW_CONTROL_ERROR, STREAM_CLOSED, NO_ERROR)),
    "PRIORITY that depends on itself": (after_request(frame(PRIORITY, 0, 1, struct.pack(">IB", 1, 15)), ends=False, path="/up"), (PROTOCOL_ERROR,)),
    "HEADERS that depend on themselves": (raw(HEADERS, END_HEADERS | END_STREAM | HAS_PRIORITY, 1, struct.pack(">IB", 1, 15) + OTHER_REQUEST), (PROTOCOL_ERROR,)),
    "WINDOW_UPDATE of nothing": (after_request(window_update(1, 0), ends=False, path="/up"), (PROTOCOL_ERROR,)),
    "a stream's window too large": (after_request(window_update(1, 0x7FFFFFFF), window_update(1, 0x7FFFFFFF), ends=False, path="/up"), (FLOW_CONTROL_ERROR,)),
    "a second field section that does not end the stream": (after_request(frame(HEADERS, END_HEADERS, 1, literal("a", "b")), ends=False, path="/up"), (PROTOCOL_ERROR,)),
    **{
        f"a trailer that is {what}": (after_request(frame(HEADERS, END_HEADERS | END_STREAM, 1, literal(*field)), ends=False, path="/up"), (PROTOCOL_ERROR,))
        for what, field in {
            "in upper case": ("X-Sum", "1"),
            "two": ("x-sum", "1\r\nx-more: 2"),
            "of the connection": ("connection", "close"),
            "nameless": ("", "1"),
            "unknown, with a colon": (":sum", "1"),
        }.items()
    },
    "a trailer that is a pseudo-header": (after_request(frame(HEADERS, END_HEADERS | END_STREAM, 1, literal(":path", "/")), ends=False, path="/up"), (PROTOCOL_ERROR,)),
}


@pytest.mark.parametrize("what", STREAM_ERRORS)
def test_a_stream_error(server, what):
    """The stream is reset, or the connection ended: an endpoint may treat a stream error as one of the connection (§5.4.2)."""
    act, codes = STREAM_ERRORS[what]
    with H2(server.port, say=[(INITIAL_WINDOW_SIZE, 0)]) as client:
        act(client)
        got = client.read_until(lambda got: got.kind == GOAWAY or (got.kind == RST_STREAM and got.stream == 1))
        assert got.code in codes


def with_field(*fields, **options):
    return request("/malformed", fields=fields, **options)


def without(name):
    return [field for field in request("/malformed") if field[0] != name]


MALFORMED = {
    # §8.2.1
    "an upper-case name": with_field(("X-Test", "ok")),
    "a space in a name": with_field(("x test", "ok")),
    "a colon in a name": with_field(("x:test", "ok")),
    "no name": with_field(("", "ok")),
    "CR in a name": with_field(("x-a\r", "ok")),
    "LF in a name": with_field(("x-a\nx-b", "ok")),
    "NUL in a name": with_field(("x-a\0", "ok")),
    "an 8-bit byte in a name": with_field(("x-\xe4", "ok")),
    "CR in a value": with_field(("x-a", "b\rc")),
    "LF in a value": with_field(("x-a", "b\nc")),
    "CRLF and a field in a value": with_field(("x-a", "b\r\nx-injected: yes")),
    "NUL in a value": with_field(("x-a", "b\0c")),
    "a control byte in a value": with_field(("x-a", "b\x01c")),
    "white space before a value": with_field(("x-a", " b")),
    "white space behind a value": with_field(("x-a", "b\t")),
    # §8.2.2
    "connection": with_field(("connection", "keep-alive")),
    "proxy-connection": with_field(("proxy-connection", "keep-alive")),
    "keep-alive": with_field(("keep-alive", "timeout=5")),
    "transfer-encoding": with_field(("transfer-encoding", "chunked")),
    "transfer_encoding": with_field(("transfer_encoding", "chunked")),
    "content_length": with_field(("content_length", "5")),
    "upgrade": with_field(("upgrade", "websocket")),
    "TE other than trailers": with_field(("te", "trailers, deflate")),
    # §8.3
    "an unknown pseudo-header": with_field((":test", "ok")),
    "a response's pseudo-header": with_field((":status", "200")),
    "a pseudo-header behind a field": [*without(":path"), ("x-test", "ok"), (":path", "/malformed")],
    "no :method": without(":method"),
    "no :scheme": without(":scheme"),
    "no :path": without(":path"),
    "no :authority and no host": without(":authority"),
    "two :method": [(":method", "GET"), *with_field()],
    "two :scheme": [(":scheme", "http"), *with_field()],
    "two :path": [(":path", "/"), *with_field()],
    "two :authority": [(":authority", "site.test"), *with_field()],
    "an empty :path": [*without(":path"), (":path", "")],
    "an empty :method": [*without(":method"), (":method", "")],
    "a space in :method": [*without(":method"), (":method", "GET /admin")],
    "a CR in :method": [*without(":method"), (":method", "GET\r\n")],
    "a :path without its slash": [*without(":path"), (":path", "malformed")],
    "a :path that is a URL": [*without(":path"), (":path", "http://site.test/malformed")],
    "a :path with a space": [*without(":path"), (":path", "/malformed HTTP/1.1")],
    "a :path with CRLF": [*without(":path"), (":path", "/malformed\r\nx-a: b")],
    "a :path with a control byte": [*without(":path"), (":path", "/mal\x7fformed")],
    "a :path with a fragment": [*without(":path"), (":path", "/malformed#part")],
    "a :path with 8-bit bytes": [*without(":path"), (":path", "/malformed\xff")],
    "a star for a GET": [*without(":path"), (":path", "*")],
    "a comma in :authority": [*without(":authority"), (":authority", "site.test,other.test")],
    "user information in :authority": [*without(":authority"), (":authority", "user@site.test")],
    "a space in :authority": [*without(":authority"), (":authority", "site.test x")],
    "a slash in :authority": [*without(":authority"), (":authority", "site.test/x")],
    "an empty :authority": [*without(":authority"), (":authority", "")],
    "an authority that is not the host": with_field(("host", "other.test")),
    "two hosts": [*without(":authority"), ("host", "site.test"), ("host", "site.test")],
    "a scheme that is not HTTP": [*without(":scheme"), (":scheme", "ftp")],
    "a scheme with a path": [*without(":scheme"), (":scheme", "http://site.test/?")],
    "CONNECT with a path": [*without(":method"), (":method", "CONNECT")],
    ":protocol without CONNECT": [(":protocol", "websocket"), *with_field()],
    # §8.1.1
    "a content-length without a body": with_field(("content-length", "1")),
    "a negative content-length": with_field(("content-length", "-1")),
    "two content-lengths": with_field(("content-length", "0"), ("content-length", "0")),
    "a list of content-lengths": with_field(("content-length", "0, 0")),
    "a content-length that is no number": with_field(("content-length", "0x0")),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_request_is_a_stream_error_and_not_forwarded(server, back, client, what):
    back.on("/malformed", b"never")
    before = len(back.requests)
    stream = client.ask_fields(MALFORMED[what])
    response = client.response(stream)
    assert (response.status, response.reset) == (None, PROTOCOL_ERROR)
    assert client.get().body == b"hello"  # the connection is as good as before
    assert all(request.target in ("/page", "/long", "/up") for request in back.requests[before:])  # the last two: of a test before, late


@pytest.mark.parametrize(
    "length, parts",
    [(5, [b"four"]), (5, [b"sixsix"]), (5, [b"five!", b"x"]), (1, [b""]), (0, [b"x"])],
    ids=["shorter", "longer", "longer in parts", "empty", "more than none"],
)
def test_a_body_that_is_not_as_long_as_it_says(server, back, client, length, parts):
    """The origin must not get what looks like a whole request."""
    bodies = []
    back.on("/wrong", lambda request: (bodies.append(request.body), request.answer("never", fields={"Cache-Control": "no-store"})))
    stream = client.ask("/wrong", ends=False, method="POST", fields=[("content-length", str(length))])
    for i, part in enumerate(parts):
        client.data(stream, part, ends=i + 1 == len(parts))
    assert client.response(stream).reset == PROTOCOL_ERROR
    assert client.get().body == b"hello"
    assert bodies == []


@pytest.mark.parametrize("body, trailer", [(b"four", ("x-sum", "1")), (b"five!x", ("x-sum", "1")), (b"five!", ("X-Sum", "1"))])
def test_trailers_end_no_malformed_body(back, client, body, trailer):
    bodies = []
    back.on("/wrong", lambda request: (bodies.append(request.body), request.answer("never", fields={"Cache-Control": "no-store"})))
    stream = client.ask("/wrong", ends=False, method="POST", fields=[("content-length", "5")])
    client.data(stream, body, ends=False).send(frame(HEADERS, END_HEADERS | END_STREAM, stream, literal(*trailer)))
    assert client.response(stream).reset == PROTOCOL_ERROR
    assert client.get().body == b"hello"
    assert bodies == []


# --- what must work ---


def test_settings_are_acknowledged_and_sent(client):
    client.read_until(lambda got: got.kind == SETTINGS and got.flags & ACK)
    assert client.server_settings[MAX_CONCURRENT_STREAMS] == 128
    assert client.server_settings[ENABLE_CONNECT] == 1 and client.server_settings[NO_PRIORITIES] == 1


def test_ping_is_answered_with_its_bytes(client):
    client.send(frame(PING, payload=b"ABCDEFGH"))
    got = client.read_kind(PING)
    assert got.flags & ACK and got.payload == b"ABCDEFGH"


def test_an_acknowledgement_of_no_ping_is_ignored(client):
    client.send(frame(PING, ACK, payload=b"ABCDEFGH")).ping()


@pytest.mark.parametrize(
    "harmless",
    [
        frame(0x16, 0xFF, 0, b"x" * 100),
        frame(0x16, 0, 7, b""),
        settings((0xFF, 1), (0xABC, 0)),
        settings(),
        frame(PRIORITY, 0, 1, PRIORITY_PAYLOAD),
        frame(PRIORITY, 0, 99, PRIORITY_PAYLOAD),
        frame(PRIORITY_UPDATE, 0, 0, struct.pack(">I", 1) + b"u=1"),
        frame(PRIORITY_UPDATE, 0, 0, struct.pack(">I", 1) + b"garbage,,;"),
        frame(0x16, 0, 0, b"") + frame(PING, 0xFE & ~ACK, payload=b"12345678"),
        window_update(0, 1000),
    ],
    ids=["unknown frame", "unknown frame on a stream", "unknown settings", "no settings", "priority of an idle stream", "priority far ahead",
         "priority update of an idle stream", "priority update that is none", "undefined flags", "window"],
)
def test_what_is_to_be_ignored(client, harmless):
    client.send(harmless)
    assert client.get().body == b"hello"


def test_padding_and_priority_are_skipped(client):
    client.send(frame(HEADERS, END_HEADERS | PADDED | HAS_PRIORITY, 1, b"\x04" + PRIORITY_PAYLOAD + block(request("/up", "POST")) + b"\0" * 4))
    client.send(frame(DATA, END_STREAM | PADDED, 1, b"\x03body" + b"\0" * 3))
    assert client.response(1).body == b"body"


def test_a_field_section_in_many_frames(client):
    whole = block(request(fields=[("x-long", "y" * 100)]))
    third = len(whole) // 3
    client.send(frame(HEADERS, END_STREAM, 1, whole[:third]), frame(CONTINUATION, 0, 1, whole[third : 2 * third]), frame(CONTINUATION, END_HEADERS, 1, whole[2 * third :]))
    assert client.response(1).body == b"hello"


def test_a_request_byte_by_byte(server):
    with H2(server.port, say=None) as client:
        for byte in PREFACE + settings() + frame(HEADERS, END_HEADERS | END_STREAM, 1, OTHER_REQUEST):
            client.send(bytes([byte]))
        assert client.response(1).body == b"hello"


def test_an_invalid_preface_ends_the_connection(server):
    with H2(server.port, say=None) as client:
        client.send(PREFACE + frame(PING, payload=b"12345678"))  # §3.4: settings come first
        assert client.goaway().code == PROTOCOL_ERROR


def test_what_was_on_its_way_when_we_reset_a_stream_is_ignored(client):
    """And its field sections are decoded all the same (§4.3), its DATA gives the connection's window back (§6.9)."""
    for stream in range(1, 81, 2):
        client.ask("/up", ends=False, method="POST", fields=[("connection", "x")])
        assert client.read_kind(RST_STREAM, stream).code == PROTOCOL_ERROR
        client.send(*[frame(DATA, 0, stream, b"x" * 16384)] * 4)
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, client.encoder.encode([("x-trailer", f"number {stream}")])))
    stream = client.next_stream
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, client.encoder.encode(request(fields=[("x-trailer", "number 79")]))))
    assert client.response(stream).body == b"hello"
    assert client.window_of(0) > 40 * 4 * 16384  # as the harness, which sent these frames by itself, does not count them


def test_the_reserved_bit_is_ignored(client):
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1 | 1 << 31, OTHER_REQUEST), frame(WINDOW_UPDATE, 0, 1 << 31, struct.pack(">I", 1000 | 1 << 31)))
    assert client.response(1).body == b"hello"


def test_a_client_s_goaway_lets_its_requests_end(client):
    stream = client.ask("/long")
    client.send(frame(GOAWAY, payload=struct.pack(">II", 0, 0) + b"good bye"), window_update(0, 1 << 20), window_update(stream, 1 << 20))
    assert client.response(stream).body == b"x" * 100_000
    client.end()


def test_a_closed_stream_far_behind_is_ignored(client):
    for _ in range(70):
        assert client.get().body == b"hello"
    client.send(frame(DATA, 0, 1, b"x"), frame(HEADERS, END_HEADERS | END_STREAM, 3, OTHER_REQUEST))
    assert client.get().body == b"hello"


@pytest.mark.parametrize("first", [1, 8, 9, 10, 24, 33, 34, 100])
def test_frames_cut_anywhere(server, first):
    """Two requests, one of them with a body and padding, in reads that end wherever they may."""
    with H2(server.port) as client:
        said = b"".join((
            frame(HEADERS, END_HEADERS | HAS_PRIORITY | PADDED, 1, b"\x03" + PRIORITY_PAYLOAD + block(request("/up", "POST")) + b"\0" * 3),
            frame(PING, payload=b"12345678"), frame(DATA, PADDED, 1, b"\x02he" + b"\0" * 2), frame(DATA, END_STREAM, 1, b"llo"),
            frame(HEADERS, END_HEADERS | END_STREAM, 3, OTHER_REQUEST)))
        while said:
            client.send(said[:first])
            said = said[first:]
        assert client.response(1).body == b"hello"
        assert client.response(3).body == b"hello"


def test_frames_on_a_closed_stream_do_no_harm(client):
    assert client.get().body == b"hello"
    client.send(window_update(1, 100), reset(1), frame(PRIORITY, 0, 1, PRIORITY_PAYLOAD))
    assert client.get().body == b"hello"


@pytest.mark.parametrize("kind", ["DATA", "HEADERS"])
def test_a_closed_stream_takes_no_more(client, kind):
    assert client.get().body == b"hello"
    client.send(frame(DATA, END_STREAM, 1, b"x") if kind == "DATA" else frame(HEADERS, END_HEADERS | END_STREAM, 1, OTHER_REQUEST))
    got = client.read_until(lambda got: got.kind == GOAWAY or (got.kind == RST_STREAM and got.stream == 1))
    assert got.code in (STREAM_CLOSED, PROTOCOL_ERROR)


def test_windows_are_kept_to_the_byte(server):
    with H2(server.port, say=[(INITIAL_WINDOW_SIZE, 1)]) as client:
        stream = client.ask()
        assert client.read_kind(DATA).payload == b"h"
        client.send(settings((INITIAL_WINDOW_SIZE, 3)))
        assert client.read_kind(DATA).payload == b"el"
        client.send(window_update(stream, 1))
        assert client.read_kind(DATA).payload == b"l"
        client.send(window_update(stream, 10))
        got = client.read_kind(DATA)
        assert got.payload == b"o" and got.flags & END_STREAM


def test_a_window_may_become_negative(server):
    with H2(server.port, say=[(INITIAL_WINDOW_SIZE, 3)]) as client:
        stream = client.ask()
        assert client.read_kind(DATA).payload == b"hel"
        client.send(settings((INITIAL_WINDOW_SIZE, 2)), window_update(stream, 1))
        client.ping()
        client.send(window_update(stream, 1))
        assert client.read_kind(DATA).payload == b"l"


def test_the_connection_s_window_bounds_all_streams(server):
    with H2(server.port, say=[(INITIAL_WINDOW_SIZE, 1 << 20)]) as client:
        first, second = client.ask("/long"), client.ask("/long")
        got = 0
        while got < 65535:
            got += len(client.read_kind(DATA).payload)
        assert got == 65535
        client.send(window_update(0, 200_000))
        client.streams = {}
        total = got
        ended = set()
        while len(ended) < 2:
            data = client.read_kind(DATA)
            total += len(data.payload)
            ended |= {data.stream} if data.flags & END_STREAM else set()
        assert total == 200_000 and ended == {first, second}


def test_frames_are_no_larger_than_the_client_allows(server):
    with H2(server.port, say=[(INITIAL_WINDOW_SIZE, 1 << 20), (MAX_FRAME_SIZE, 1 << 20)], window=1 << 20) as client:
        response = client.get("/long")
        assert response.body == b"x" * 100_000
    with H2(server.port, window=1 << 20) as client:
        response = client.get("/long")
        assert max(len(got.payload) for got in response.frames) <= 16384


def test_a_client_s_window_is_enforced(server, client):
    """A body may be at most a window ahead of the origin (§6.9)."""
    stream = client.ask("/nobody-reads", ends=False, method="POST", authority="unknown.invalid")
    client.ping()
    for _ in range(5):
        client.try_to_send(*[frame(DATA, 0, stream, b"x" * 16384)] * 16)
    assert client.try_to_send() is True


def test_header_table_size_is_followed(server):
    with H2(server.port, say=[(HEADER_TABLE_SIZE, 0)]) as client:
        client.decoder.max_allowed_table_size = 0
        for _ in range(3):
            assert client.get().body == b"hello"
            client.decoder.header_table_size = 0


def test_a_client_that_compresses_with_a_table(server):
    with H2(server.port) as client:
        for stream in (1, 3, 5):
            client.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, client.encoder.encode(request(fields=[("x-same", "value" * 20)]))))
            assert client.response(stream).body == b"hello"


def test_more_streams_than_allowed_are_refused(server, back):
    import threading

    free = threading.Event()
    back.on("/held", lambda request: (free.wait(20), request.answer("late", fields={"Cache-Control": "max-age=5"})))
    with H2(server.port) as client:
        client.ping()
        streams = [client.ask("/held") for _ in range(129)]
        got = client.read_until(lambda got: got.kind in (RST_STREAM, GOAWAY))
        assert got.code in (REFUSED_STREAM, PROTOCOL_ERROR) and (got.kind == GOAWAY or got.stream == streams[-1])
        free.set()
