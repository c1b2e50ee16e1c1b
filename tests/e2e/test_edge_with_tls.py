"""What a server at the edge does besides TLS, on real TLS listeners: PROXY headers come first, and what is secure is what the connection says."""
import contextlib
import socket
import ssl
import subprocess

import pytest

from harness.certificates import Authority, TlsOutrigger, client_context, pair, read_answer
from harness.http import get
from harness.outrigger import SLOW

NAME = "www.example.org"
V1 = b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\2\x08\x0a\0\0\1\x12\x67\x01\xbb"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def certificate(authority):
    return authority.issue(NAME)


@pytest.fixture(scope="module")
def make(tmp_path_factory, back, certificate):
    made = []

    def make(site=None, **options):
        back.on("/who", lambda request: request.answer(f"{request.get('x-forwarded-for')} {request.get('x-forwarded-proto')}", fields={"Cache-Control": "no-store"}))
        sites = [{"hosts": [NAME], "origin": back.url, "tls": pair(certificate), **(site or {})}]
        made.append(TlsOutrigger(tmp_path_factory.mktemp("edge"), sites, **options))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture(scope="module")
def behind(make):
    """A TLS listener behind a proxy that speaks the PROXY protocol."""
    return make(listen={"proxy_protocol": True}, config={"trusted_proxies": ["127.0.0.1"]})


def greeted(outrigger, authority, pieces):
    plain = socket.create_connection(("127.0.0.1", outrigger.tls_port), timeout=10 * SLOW)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for piece in pieces:
        plain.sendall(piece)
    return client_context(authority=authority).wrap_socket(plain, server_hostname=NAME)


@pytest.mark.parametrize("pieces, client", [([V1], "192.0.2.7"), ([V2], "192.0.2.8"), ([V1[:9], V1[9:]], "192.0.2.7"), ([bytes([b]) for b in V2], "192.0.2.8")])
def test_a_proxy_header_comes_before_tls(behind, authority, pieces, client):
    with greeted(behind, authority, pieces) as connection:
        for _ in range(2):
            connection.sendall(f"GET /who HTTP/1.1\r\nHost: {NAME}\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: http\r\n\r\n".encode())
            assert read_answer(connection)[2].decode() == f"{client} https"


def test_the_handshake_may_come_in_one_piece_with_the_header(behind, authority):
    """Nothing of it is taken with the header."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context(authority=authority).wrap_bio(incoming, outgoing, server_hostname=NAME)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    with socket.create_connection(("127.0.0.1", behind.tls_port), timeout=10 * SLOW) as plain:
        plain.sendall(V1 + outgoing.read())
        while True:
            incoming.write(plain.recv(65536))
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                continue
        assert tls.version() == "TLSv1.3"


def test_tls_without_the_header_is_closed(behind, authority):
    refused = behind.metric("outrigger_client_proxy_headers_refused_total")
    with pytest.raises(OSError):
        greeted(behind, authority, [])
    behind.await_metric(refused + 1, "outrigger_client_proxy_headers_refused_total")


def test_a_header_inside_tls_is_no_header(make, authority, back):
    outrigger = make(config={"trusted_proxies": ["127.0.0.1"]})
    requests = back.count()
    with greeted(outrigger, authority, []) as connection:
        connection.sendall(V1 + f"GET /who HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
        assert read_answer(connection)[0] == 400
    assert back.count() == requests


@pytest.fixture(scope="module")
def secure(make):
    return make(site={"https_redirect": True, "hsts": "365d"})


def test_plain_is_redirected_and_tls_is_told_to_stay(secure, authority, back, path):
    back.on(path, b"page")
    response = get(secure.port, path + "?a=b", host=NAME)
    assert response.status == 308 and response.get("location") == f"https://{NAME}{path}?a=b" and response.get("strict-transport-security") is None
    for _ in range(2):
        status, fields, body = secure.fetch(path, name=NAME, authority=authority)
        assert (status, body, fields["strict-transport-security"]) == (200, b"page", "max-age=31536000")


def test_nobody_who_is_not_trusted_can_say_otherwise(secure, authority, back, path):
    back.on(path, b"page")
    assert get(secure.port, path, host=NAME, fields={"X-Forwarded-Proto": "https", "Forwarded": "proto=https"}).status == 308
    assert secure.fetch(path, name=NAME, authority=authority, headers="X-Forwarded-Proto: http\r\n")[0] == 200


def test_a_trusted_proxy_can(make, authority, back, path):
    back.on(path, b"page")
    outrigger = make(site={"https_redirect": True}, config={"trusted_proxies": ["127.0.0.1"]})
    assert get(outrigger.port, path, host=NAME, fields={"X-Forwarded-Proto": "https"}).body == b"page"
    assert outrigger.fetch(path, name=NAME, authority=authority, headers="X-Forwarded-Proto: http\r\n")[0] == 308


def test_hsts_with_http2(make, authority, back, path):
    back.on(path, b"page")
    outrigger = make(site={"hsts": "1h"}, listen={"http2": True})
    done = subprocess.run(["curl", "-sS", "--http2", "--cacert", str(authority.file), "--resolve", f"{NAME}:{outrigger.tls_port}:127.0.0.1", "-D", "-",
                           f"https://{NAME}:{outrigger.tls_port}{path}"], capture_output=True, text=True, timeout=20 * SLOW)
    assert done.stdout.startswith("HTTP/2 200") and "strict-transport-security: max-age=3600\n" in done.stdout.replace("\r", "")
