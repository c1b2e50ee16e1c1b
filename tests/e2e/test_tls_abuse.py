"""HARDENING, TLS abuse: what a server must not offer, and what a session must not be resumed for."""
import contextlib
import os
import socket
import ssl
import subprocess
import threading

import pytest

from harness.certificates import Authority, TlsOutrigger, client_context, ocsp_response, pair, rsa_pair
from harness.h2 import H2
from harness.outrigger import SLOW
from harness.poll import until

REQUEST = b"GET / HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n"
BURST = 120  # handshakes
VERSIONS = pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def edge(authority, origin, tmp_path):
    origin.on("/", "hello")
    shown = pair(authority.issue("www.example.org", "open.example"))
    sites = [{"hosts": [name], "origin": origin.url, "tls": dict(shown)} for name in ("www.example.org", "open.example")]
    edge = TlsOutrigger(tmp_path, sites)
    yield edge
    edge.stop()


def test_a_client_cannot_renegotiate(edge):
    """RFC 5746; CVE-2011-1473: it would cost us ten times what it costs the client. The connection ends."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{edge.tls_port}", "-servername", "www.example.org", "-tls1_2"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
        client.stdin.write(b"R\n")
        client.stdin.flush()  # and stays open: the client goes because the server does
        said = client.stdout.read().decode(errors="replace")
        client.wait(20 * SLOW)
    assert "Secure Renegotiation IS supported" in said and "RENEGOTIATING" in said
    assert edge.metric("outrigger_tls_handshakes_total") == 1 and edge.fetch()[0] == 200


def test_nothing_is_compressed(edge):
    """CRIME, CVE-2012-4929."""
    assert "Compression: NONE" in edge.s_client("-tls1_2", "-comp")


def test_early_data_is_not_taken(edge, tmp_path):
    """RFC 8470: what may be replayed is nobody's request. Neither is it promised, nor taken from who sends it all the same."""
    (tmp_path / "early").write_bytes(REQUEST)
    assert "Max Early Data: 0" in edge.s_client("-tls1_3", "-sess_out", tmp_path / "session", "-ign_eof", stdin=REQUEST)
    said = edge.s_client("-tls1_3", "-sess_in", tmp_path / "session", "-early_data", tmp_path / "early", "-ign_eof", stdin=REQUEST)
    assert "Early data was not sent" in said and "Reused" in said and "HTTP/1.1 200" in said


def test_a_client_without_tickets_is_served_by_full_handshakes(edge):
    """Of TLS 1.2: no session is kept for it, and none is promised by a session ID (docs/TLS.md)."""
    said = edge.s_client("-tls1_2", "-no_ticket", "-reconnect")
    assert said.count("New, TLS") == 6 and "Reused" not in said and said.count("Session-ID: \n") == 6
    edge.await_metric(6, "outrigger_tls_handshakes_total", kind="full")


@VERSIONS
def test_a_session_of_another_name_does_not_open_what_needs_a_certificate(edge, authority, tmp_path, version):
    """CVE-2025-23419."""
    edge.config["sites"][0]["client_certificates"] = {"mode": "require", "ca": str(authority.file)}
    edge.write_config()
    edge.ctl("reload")
    assert "HTTP/1.1 200" in edge.s_client(version, "-sess_out", tmp_path / "session", "-ign_eof", name="open.example", stdin=REQUEST.replace(b"www.example.org", b"open.example"))
    said = edge.s_client(version, "-sess_in", tmp_path / "session", "-ign_eof", name="www.example.org", stdin=REQUEST)
    assert "Reused" not in said and "HTTP/1.1" not in said
    edge.await_metric(1, "outrigger_tls_handshake_failures_total", reason="client_certificate")


@VERSIONS
def test_a_session_from_before_does_not_open_what_needs_a_certificate_now(edge, authority, tmp_path, version):
    """The keys of tickets outlive a reload; what a session was good for does not."""
    assert "HTTP/1.1 200" in edge.s_client(version, "-sess_out", tmp_path / "session", "-ign_eof", stdin=REQUEST)
    edge.config["sites"][0]["client_certificates"] = {"mode": "require", "ca": str(authority.file)}
    edge.write_config()
    edge.ctl("reload")
    said = edge.s_client(version, "-sess_in", tmp_path / "session", "-ign_eof", stdin=REQUEST)
    assert "Reused" not in said and "HTTP/1.1" not in said


@VERSIONS
def test_a_session_of_a_client_that_another_authority_knows_is_not_resumed(edge, authority, tmp_path, version):
    """Who is trusted now was not asked when the session began."""
    certificate, key = authority.issue("alice", usage="clientAuth")
    client = "-cert", certificate, "-key", key
    edge.config["sites"][0]["client_certificates"] = {"mode": "require", "ca": str(authority.file)}
    edge.write_config()
    edge.ctl("reload")
    assert "HTTP/1.1 200" in edge.s_client(version, *client, "-sess_out", tmp_path / "session", "-ign_eof", stdin=REQUEST)
    assert "Reused" in edge.s_client(version, *client, "-sess_in", tmp_path / "session", "-sess_out", tmp_path / "session", "-ign_eof", stdin=REQUEST)
    stranger = Authority(tmp_path, "Stranger")
    edge.config["sites"][0]["client_certificates"]["ca"] = str(stranger.file)
    edge.write_config()
    edge.ctl("reload")
    said = edge.s_client(version, *client, "-sess_in", tmp_path / "session", "-ign_eof", stdin=REQUEST)
    assert "Reused" not in said and "HTTP/1.1" not in said


@pytest.mark.threads
def test_keys_and_certificates_change_under_load(authority, origin, tmp_path):
    """Every loop seals, resumes and serves HTTP/2 meanwhile, and nobody notices."""
    origin.on("/page", lambda request: request.answer("hello", fields={"Cache-Control": "max-age=3600"}))
    shown, keys = [pair(authority.issue("www.example.org")) for _ in range(2)], tmp_path / "tickets"
    keys.write_bytes(os.urandom(80))
    site = {"hosts": ["www.example.org"], "origin": origin.url, "tls": shown[0]}
    edge = TlsOutrigger(tmp_path, [site], config={"workers": 4, "tls": {"tickets": str(keys)}})
    ended, failures, served = threading.Event(), [], [0, 0]  # in all, by connections that resumed

    def browse():
        context, session = client_context(alpn=["h2"], version=ssl.TLSVersion.TLSv1_3), None
        try:
            while not ended.is_set():
                wrap = lambda plain: context.wrap_socket(plain, server_hostname="www.example.org", session=session)
                with H2(edge.tls_port, wrap=wrap) as client:
                    streams = [client.ask("/page", scheme="https", authority="www.example.org") for _ in range(20)]
                    assert all(client.response(stream).body == b"hello" for stream in streams)
                    served[0], served[1] = served[0] + 1, served[1] + client.socket.session_reused
                    session = client.socket.session
        except Exception as failure:
            failures.append(repr(failure))

    browsers = [threading.Thread(target=browse) for _ in range(4)]
    for browser in browsers:
        browser.start()
    try:
        for turn in range(6):
            fresh = tmp_path / "fresh"
            fresh.write_bytes(os.urandom(80) + keys.read_bytes()[:80])  # the old key still opens
            os.replace(fresh, keys)
            edge.config["sites"][0]["tls"] = shown[turn % 2]
            edge.write_config()
            edge.ctl("reload")
            goal = served[0] + 4
            until(lambda: served[0] >= goal or failures, 30 * SLOW, "connections after a reload")
    finally:
        ended.set()
        for browser in browsers:
            browser.join()
        edge.stop()
    assert not failures and served[1] > 0


def test_an_ocsp_response_that_changes_is_sent_without_a_signal(edge, authority, tmp_path):
    """And one that is about nobody is not sent at all."""
    certificate = authority.issue("stapled.example")
    response = ocsp_response(authority, certificate[0], days=7)
    edge.config["sites"][0]["tls"] = pair(certificate, ocsp=str(response))
    edge.write_config()
    edge.ctl("reload")
    updated = lambda: [line.strip() for line in edge.s_client("-status").splitlines() if "Next Update:" in line]
    before = updated()
    assert before
    fresh = ocsp_response(authority, certificate[0], days=20).rename(tmp_path / "fresh")
    os.replace(fresh, response)
    until(lambda: (now := updated()) and now != before, what="the new response")


def test_no_handshake_needs_a_file(authority, origin, tmp_path):
    """The server may open none any more: whatever clients offer, and when the memory of a burst of them is given back (docs/TLS.md)."""
    origin.on("/", "hello")
    certificate = authority.issue("www.example.org")
    shown = [pair(certificate, ocsp=str(ocsp_response(authority, certificate[0]))), pair(rsa_pair(authority, "www.example.org"))]
    asked = {"mode": "request", "ca": str(authority.file)}
    edge = TlsOutrigger(tmp_path, [{"hosts": ["www.example.org"], "origin": origin.url, "tls": shown, "client_certificates": asked}])
    known, stranger = authority.issue("alice", usage="clientAuth"), Authority(tmp_path, "Stranger").issue("bob", usage="clientAuth")
    offers = [["-status"], ["-sigalgs", "rsa_pss_rsae_sha256"], ["-groups", "P-384"], ["-groups", "X448"], ["-alpn", "smtp"], ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
              ["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], ["-tls1_2", "-cipher", "AES128-SHA"], ["-cert", known[0], "-key", known[1]],
              ["-cert", stranger[0], "-key", stranger[1]]]
    for offer in offers:
        edge.s_client(*offer)
    with contextlib.ExitStack() as burst:  # each in the middle of its handshake: OpenSSL's memory for all of them at once
        hello = client_hello()
        for _ in range(BURST):
            burst.enter_context(socket.create_connection(("127.0.0.1", edge.tls_port), timeout=20 * SLOW)).sendall(hello)
        edge.await_metric(BURST + 1, "outrigger_client_connections")
    edge.await_metric(1, "outrigger_client_connections")
    assert edge.fetch()[0] == 200
    edge.stop()
    assert "sandbox" not in edge.output_text() + edge.errors()


def client_hello():
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        client_context().wrap_bio(incoming, outgoing, server_hostname="www.example.org").do_handshake()
    return outgoing.read()
