"""The PROXY protocol on a listener: the client that a trusted proxy names is the client; nobody else can name one, and nothing passes without a header."""
import contextlib
import socket
import struct

import pytest

from harness.outrigger import SLOW
from harness.poll import until
from harness.ports import free_port

REQUEST = b"GET /who HTTP/1.1\r\nHost: site.test\r\n\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v2(source, command=0x21, transport=1, tlvs=b""):
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    ip = socket.inet_pton(family, source)
    addresses = ip + ip + struct.pack("!HH", 4711, 80)
    return SIGNATURE + bytes([command, (0x20 if family == socket.AF_INET6 else 0x10) | transport]) + struct.pack("!H", len(addresses + tlvs)) + addresses + tlvs


V1 = b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n"

HEADERS = {
    "version 1": (V1, "192.0.2.7"),
    "version 1, IPv6": (b"PROXY TCP6 2001:db8::7 2001:db8::8 4711 80\r\n", "2001:db8::7"),
    "version 1, IPv4 as IPv6": (b"PROXY TCP6 ::ffff:192.0.2.9 ::1 4711 80\r\n", "192.0.2.9"),
    "version 1, unknown": (b"PROXY UNKNOWN whatever\r\n", "127.0.0.1"),
    "version 2": (v2("192.0.2.8"), "192.0.2.8"),
    "version 2, IPv6": (v2("2001:db8::9"), "2001:db8::9"),
    "version 2 with extensions": (v2("192.0.2.8", tlvs=b"\x01\0\x02h2\x04\0\x03abc"), "192.0.2.8"),
    "version 2, the proxy's own": (v2("192.0.2.8", command=0x20), "127.0.0.1"),
    "version 2, nothing said": (SIGNATURE + b"\x21\0\0\0", "127.0.0.1"),
    "version 2, datagrams": (v2("192.0.2.8", transport=2), "127.0.0.1"),
    "version 2, Unix socket": (SIGNATURE + b"\x21\x31\0\xd8" + b"/".ljust(216, b"\0"), "127.0.0.1"),
}

BAD = {
    "none at all": REQUEST,
    "a TLS handshake": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    "version 1, malformed address": b"PROXY TCP4 192.0.2.300 10.0.0.1 4711 80\r\n" + REQUEST,
    "version 1, bare line feed": b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\n" + REQUEST,
    "version 1, endless": b"PROXY UNKNOWN " + b"x" * 200,
    "version 2, unknown command": v2("192.0.2.8", command=0x2f) + REQUEST,
    "version 2, version 3": v2("192.0.2.8", command=0x31) + REQUEST,
    "version 2, endless": SIGNATURE + b"\x21\x11\xff\xff" + b"x" * 200,
    "version 2, short addresses": SIGNATURE + b"\x21\x11\0\x04\x01\x02\x03\x04" + REQUEST,
    "version 2, malformed extension": v2("192.0.2.8", tlvs=b"\x01\0\x09h2") + REQUEST,
}


@pytest.fixture(scope="module")
def behind(make_module_outrigger, back):
    """Listens for a proxy on this machine."""
    back.on("/who", lambda request: request.answer(request.get("x-forwarded-for"), fields={"Cache-Control": "no-store"}))
    port = free_port()
    outrigger = make_module_outrigger(origin=back.url, config={
        "listen": [{"address": f"127.0.0.1:{port}", "proxy_protocol": True}], "trusted_proxies": ["127.0.0.1"]})
    outrigger.port = port
    return outrigger


@pytest.mark.parametrize("name", HEADERS)
def test_the_client_is_who_the_header_names(behind, name):
    header, client = HEADERS[name]
    with behind.connect() as connection:
        assert connection.send(header + REQUEST).response().body.decode() == client
        assert connection.request("/who").body.decode() == client  # for as long as the connection lasts


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_in_pieces(behind, name):
    header, client = HEADERS[name]
    with behind.connect() as connection:
        for byte in header[:40]:
            connection.send(bytes([byte]))
        assert connection.send(header[40:] + REQUEST).response().body.decode() == client


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_header_is_closed_unanswered_and_logged(behind, back, name):
    requests, refused = back.count(), behind.metric("outrigger_client_proxy_headers_refused_total")
    with behind.connect() as connection:
        with contextlib.suppress(ConnectionError):
            connection.send(BAD[name])
        assert connection.read_to_end() == b""
    assert back.count() == requests
    behind.await_metric(refused + 1, "outrigger_client_proxy_headers_refused_total")


def test_a_header_that_does_not_come_or_end_is_closed_in_time(make_outrigger, origin):
    port = free_port()
    outrigger = make_outrigger(origin=origin.url, config={
        "listen": [{"address": f"127.0.0.1:{port}", "proxy_protocol": True}], "trusted_proxies": ["127.0.0.0/8"], "timeouts": {"header": "200ms"}})
    outrigger.port = port
    for said in b"", V1[:20], SIGNATURE, V1, V1 + REQUEST[:10]:
        with outrigger.connect(timeout=10 * SLOW) as connection:
            connection.send(said)
            left = connection.read_to_end()
            assert left == b"" or left.startswith(b"HTTP/1.1 408")
    with outrigger.connect() as connection:
        with contextlib.suppress(OSError):  # it may be closed already
            connection.send(V1[:20]).end_sending()
        assert connection.read_to_end() == b""


def test_only_trusted_proxies_are_served(make_outrigger, origin):
    origin.on("/who", lambda request: request.answer(request.get("x-forwarded-for"), fields={"Cache-Control": "no-store"}))
    port = free_port()
    outrigger = make_outrigger(origin=origin.url, config={
        "listen": [{"address": f"127.0.0.1:{port}", "proxy_protocol": True}], "trusted_proxies": ["127.0.0.2"]})
    outrigger.port = port
    for _ in range(3):
        with outrigger.connect() as connection:
            with contextlib.suppress(ConnectionError):
                connection.send(V1 + REQUEST)
            assert connection.read_to_end() == b""
    assert origin.count() == 0
    until(lambda: "it is none of trusted_proxies" in outrigger.errors(), what="a line in the log")
    with socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0)) as trusted:
        trusted.sendall(V1 + REQUEST)
        assert trusted.recv(65536).endswith(b"192.0.2.7")


def test_without_the_setting_a_header_is_a_malformed_request(proxy, back):
    requests = back.count()
    with proxy.connect() as connection:
        assert connection.send(V1 + REQUEST).response().status == 400
    with proxy.connect() as connection:
        assert connection.send(v2("192.0.2.8") + REQUEST).response().status == 400
    assert back.count() == requests


def test_the_named_client_is_what_purge_and_the_log_know(make_outrigger, origin):
    origin.on("/page", b"hello")
    port = free_port()
    outrigger = make_outrigger(origin=origin.url, site={"purge": ["192.0.2.0/24"]}, config={
        "listen": [{"address": f"127.0.0.1:{port}", "proxy_protocol": True}], "trusted_proxies": ["127.0.0.1"]})
    outrigger.port = port
    for client, status in ("192.0.2.7", 200), ("192.0.3.7", 403):
        with outrigger.connect() as connection:
            connection.send(f"PROXY TCP4 {client} 10.0.0.1 4711 80\r\n")
            assert connection.request("/page", method="PURGE").status == status
    assert {line.split()[0] for line in outrigger.await_access_lines(2)} == {"192.0.2.7", "192.0.3.7"}


def test_it_is_refused_when_nobody_is_trusted(make_outrigger):
    outrigger = make_outrigger(config={"listen": [{"address": f"127.0.0.1:{free_port()}", "proxy_protocol": True}]}, wait=False)
    assert outrigger.process.wait(20 * SLOW) != 0
    assert "proxy_protocol without trusted_proxies" in outrigger.output_text()


def test_a_reload_changes_what_the_next_connection_begins_with(make_outrigger, origin):
    origin.on("/who", lambda request: request.answer(request.get("x-forwarded-for"), fields={"Cache-Control": "no-store"}))
    port = free_port()
    outrigger = make_outrigger(origin=origin.url, config={"listen": [{"address": f"127.0.0.1:{port}"}], "trusted_proxies": ["127.0.0.1"]})
    outrigger.port = port
    assert outrigger.get("/who").body == b"127.0.0.1"
    with outrigger.connect() as early:
        early.request("/who")
        outrigger.config["listen"][0]["proxy_protocol"] = True
        outrigger.write_config()
        outrigger.reload()

        def takes_header():
            with outrigger.connect() as connection:
                return connection.send(V1 + REQUEST).response().body == b"192.0.2.7"

        until(takes_header, what="the new configuration to serve")
        assert early.request("/who").body == b"127.0.0.1"
