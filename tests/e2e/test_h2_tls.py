"""HTTP/2 where browsers speak it: over TLS, by ALPN (RFC 9113 §3.2)."""
import shutil
import ssl
import subprocess

import pytest

from harness.certificates import Authority, TlsOutrigger, client_context, pair
from harness.h2 import *


@pytest.fixture(scope="module")
def edge(tmp_path_factory, back):
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    back.on("/page", b"hello").on("/long", bytes(range(256)) * 4000)
    back.on("/up", lambda request: request.answer(request.body, fields={"Cache-Control": "no-store"}))
    site = {"hosts": ["site.test"], "origin": back.url, "tls": pair(authority.issue("site.test"))}
    outrigger = TlsOutrigger(tmp_path_factory.mktemp("outrigger"), [site])
    outrigger.authority = authority
    yield outrigger
    outrigger.stop()


@pytest.fixture
def client(edge):
    context = client_context(authority=edge.authority, alpn=["h2"])
    with H2(edge.tls_port, window=1 << 24, wrap=lambda plain: context.wrap_socket(plain, server_hostname="site.test")) as client:
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


def test_many_streams_at_once(client):
    streams = [client.ask("/page", scheme="https") for _ in range(100)]
    assert all(client.response(stream).body == b"hello" for stream in streams)


def test_windows_hold_a_response_back(edge):
    context = client_context(authority=edge.authority, alpn=["h2"])
    with H2(edge.tls_port, say=[(INITIAL_WINDOW_SIZE, 1000)], wrap=lambda plain: context.wrap_socket(plain, server_hostname="site.test")) as client:
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
        client.get("/page", scheme="https")
        before = client.socket.records
        assert len(client.get("/long", scheme="https").body) == 1024000
        assert 1024000 / 16384 < client.socket.records - before < 1024000 / 16384 + 15  # ten of them are small, to begin with


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
