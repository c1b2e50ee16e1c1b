"""HTTP/2 where browsers speak it: over TLS, by ALPN (RFC 9113 §3.2)."""
import os
import shutil
import ssl
import subprocess

import pytest

from harness.certificates import Authority, TlsOutrigger, client_context, pair
from harness.h2 import *
from harness.memory import resident_kib


@pytest.fixture(scope="module")
def edge(tmp_path_factory, back):
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    back.on("/page", b"hello").on("/long", bytes(range(256)) * 4000)
    back.on("/up", lambda request: request.answer(request.body, fields={"Cache-Control": "no-store"}))
    shown = pair(authority.issue("site.test", "guarded.test"))
    known = {"mode": "request", "ca": str(authority.file), "header": "X-Client-Name"}
    sites = [{"hosts": ["site.test", "other.test"], "origin": back.url, "tls": dict(shown)},
             {"hosts": ["guarded.test"], "origin": back.url, "tls": dict(shown), "client_certificates": known}]
    outrigger = TlsOutrigger(tmp_path_factory.mktemp("outrigger"), sites)
    outrigger.authority = authority
    yield outrigger
    outrigger.stop()


def connect(edge, name="site.test", say=(), window=1 << 24, **how):
    context = client_context(authority=edge.authority, alpn=["h2"], **how)
    return H2(edge.tls_port, say=say, window=window, wrap=lambda plain: context.wrap_socket(plain, server_hostname=name))


@pytest.fixture
def client(edge):
    with connect(edge) as client:
        assert client.socket.selected_alpn_protocol() == "h2"
        yield client


def test_requests_and_uploads_to_the_byte(client, back):
    for _ in range(3):
        assert client.get("/long", scheme="https").body == bytes(range(256)) * 4000
    body = bytes(range(251)) * 1000
    stream = client.ask("/up", ends=False, method="POST", scheme="https")
    client.ping().upload(stream, body)
    assert client.response(stream).body == body
    assert back.requests[-1].get("x-forwarded-proto") == "https"


@pytest.mark.threads
def test_many_streams_at_once(client):
    streams = [client.ask("/page", scheme="https") for _ in range(100)]
    assert all(client.response(stream).body == b"hello" for stream in streams)


def test_windows_hold_a_response_back(edge):
    with connect(edge, say=[(INITIAL_WINDOW_SIZE, 1000)], window=None) as client:
        stream = client.ask("/long", scheme="https")
        assert len(client.read_kind(DATA).payload) == 1000
        client.send(window_update(stream, 5000))
        assert len(client.read_kind(DATA).payload) == 5000


class Opening:
    """A socket with TLS whose sealed bytes are seen: it counts the records that come."""

    def __init__(self, plain, context):
        self.plain, self.records, self.rest = plain, 0, b""
        self.sealed, self.made = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.sealed, self.made, server_hostname="site.test")
        self.close = plain.close
        self.do(self.tls.do_handshake)

    def do(self, step, *words):
        while True:
            try:
                result = step(*words)
                self.plain.sendall(self.made.read())
                return result
            except ssl.SSLWantReadError:
                self.plain.sendall(self.made.read())
                self.take(self.plain.recv(65536))

    def take(self, bytes):
        self.sealed.write(bytes)
        self.rest += bytes
        while len(self.rest) >= 5 and len(self.rest) >= (whole := 5 + int.from_bytes(self.rest[3:5], "big")):
            self.rest = self.rest[whole:]
            self.records += 1

    def sendall(self, bytes):
        self.do(self.tls.write, bytes)

    def recv(self, most):
        return self.do(self.tls.read, most)


def test_frames_of_a_large_body_fill_the_records(edge):
    context = client_context(authority=edge.authority, alpn=["h2"])
    say = [(INITIAL_WINDOW_SIZE, 1 << 24)]
    with H2(edge.tls_port, say=say, window=1 << 24, wrap=lambda plain: Opening(plain, context)) as client:
        client.get("/long", scheme="https")  # from the cache, from here on
        before = client.socket.records
        assert len(client.get("/long", scheme="https").body) == 1024000
        assert 1024000 / 16384 < client.socket.records - before < 1024000 / 16384 + 15  # ten of them are small, to begin with


def echo(request):
    assert request.get("upgrade") == "websocket" and request.get("x-forwarded-proto") == "https"
    request.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
    request.echo()


@pytest.mark.threads
def test_websockets_beside_requests(client, back, path):
    """RFC 8441, as browsers do it: several on one connection, which goes on serving requests."""
    back.on(path, echo)
    fields = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", path), (":authority", "site.test"), ("sec-websocket-version", "13")]
    assert client.ping().server_settings[ENABLE_CONNECT] == 1
    streams = [client.ask_fields(fields, ends=False) for _ in range(3)]
    sent = {stream: b"%05d" % stream * 20_000 for stream in streams}  # more than fits a stream's window
    said, statuses = {stream: b"" for stream in streams}, []

    def take(got):
        if got.kind == HEADERS:
            statuses.append(dict(got.fields)[":status"])
        elif got.kind == DATA and got.payload:
            said[got.stream] += got.payload
            client.send(window_update(got.stream, len(got.payload)))

    while len(statuses) < 3:
        take(client.read())
    for stream in streams:
        client.upload(stream, sent[stream], ends=False)
        for got in (got for other in streams for got in client.streams.pop(other, ())):
            said[got.stream] += got.payload if got.kind == DATA else b""
    while any(len(said[stream]) < 5 + len(sent[stream]) for stream in streams):
        take(client.read())
    assert statuses == ["200"] * 3 and said == {stream: b"hello" + sent[stream] for stream in streams}
    assert client.get(scheme="https").body == b"hello"
    client.data(streams[0], ends=True)
    client.read_until(lambda got: got.kind == DATA and got.stream == streams[0] and got.flags & END_STREAM)
    client.send(reset(streams[1]))
    client.data(streams[2], b"still", ends=False)
    assert client.read_kind(DATA, streams[2]).payload == b"still"


def test_a_connection_is_for_the_names_that_are_treated_like_its_own(edge, client):
    """RFC 9113 §9.1.1, RFC 9110 §15.5.20: what browsers would coalesce because the certificate has the name."""
    assert client.get(authority="other.test", scheme="https").status == 200
    assert client.get(authority="guarded.test", scheme="https").status == 421
    assert client.get(authority="nobody.test", scheme="https").status == 421
    with connect(edge, "guarded.test") as guarded:
        assert guarded.get(authority="guarded.test", scheme="https").status == 200
        assert guarded.get(authority="site.test", scheme="https").status == 421


def test_the_origin_is_told_who_the_client_is_and_nobody_can_forge_that(edge, back, path):
    back.on(path, b"x")
    forged = [("x-client-name", "CN=root"), ("x_client_name", "CN=root")]
    with connect(edge, "guarded.test", certificate=edge.authority.issue("alice", usage="clientAuth")) as alice:
        assert alice.get(path, authority="guarded.test", scheme="https", fields=forged).status == 200
    assert back.requests[-1].get("x-client-name") == "CN=alice" and "x_client_name" not in back.requests[-1].names()
    with connect(edge, "guarded.test") as nobody:
        assert nobody.get(path + "?again", authority="guarded.test", scheme="https", fields=forged).status == 200
    assert back.requests[-1].get("x-client-name") is None


@pytest.mark.skipif(bool(os.environ.get("SANITIZE")), reason="a sanitizer's memory is its own")
def test_an_idle_connection_takes_less_than_what_a_handshake_leaves(edge):
    """19 KB (docs/HITPATH.md); with a buffer of 16 KiB for frames, all of it resident, 30."""
    context, idle = client_context(authority=edge.authority, alpn=["h2"]), []
    pid = edge.children("proxy")[0]
    try:
        for count in range(200):
            if count == 50:
                before = resident_kib(pid)
            idle.append(H2(edge.tls_port, wrap=lambda plain: context.wrap_socket(plain, server_hostname="site.test")))
            assert idle[-1].get("/page", scheme="https").body == b"hello"
        assert (resident_kib(pid) - before) / 150 < 25
    finally:
        for client in idle:
            client.close()


@pytest.mark.threads
@pytest.mark.parametrize("program", ["curl", "nghttp", "h2load"])
def test_clients_as_people_have_them(edge, program):
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    url = f"https://127.0.0.1:{edge.tls_port}/long"
    resolved = f"https://site.test:{edge.tls_port}/long"
    command = {
        "curl": ["curl", "-s", "--cacert", str(edge.authority.file), "--resolve", f"site.test:{edge.tls_port}:127.0.0.1", resolved, resolved,
                 "-o", "/dev/null", "-o", "/dev/null", "-w", "%{http_version} %{http_code} %{size_download};"],
        "nghttp": ["nghttp", "-nsm", "20", "-H", ":authority: site.test", url],
        "h2load": ["h2load", "-n", "200", "-c", "2", "-m", "10", "-H", ":authority: site.test", url],
    }[program]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60 * SLOW).stdout
    assert {"curl": said == "2 200 1024000;" * 2, "nghttp": said.count(" 200 ") == 20, "h2load": "200 succeeded, 0 failed, 0 errored" in said}[program], said
