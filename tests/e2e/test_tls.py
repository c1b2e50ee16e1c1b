"""TLS to clients: certificates by name, versions and ciphers, resumption, stapling, client certificates, and what is refused."""
import json
import os
import signal
import socket
import ssl
import subprocess
import time

import pytest

from harness.certificates import Authority, TlsOutrigger, client_context, ocsp_response, pair, read_answer, rsa_pair, subject
from harness.outrigger import BINARY, SLOW
from harness.poll import until


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def www(authority):
    return authority.issue("www.example.org")


@pytest.fixture(scope="module")
def other(authority):
    return authority.issue("other.example", "*.wild.example")


@pytest.fixture
def make(tmp_path, origin):
    made = []

    def make(sites, **options):
        for site in sites:
            site.setdefault("origin", origin.url)
        made.append(TlsOutrigger(tmp_path, sites, **options))
        return made[-1]

    origin.on("/", "hello")
    origin.on("/large", os.urandom(300_000))
    yield make
    for one in made:
        one.stop()


@pytest.fixture
def edge(make, www, other):
    """Two sites, the first of which is the default."""
    return make([{"hosts": ["www.example.org"], "tls": pair(www)}, {"hosts": ["other.example", "*.wild.example"], "tls": pair(other)}])


# ---- what is served ----


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_requests_are_answered(edge, authority, origin, version):
    connection = edge.tls(authority=authority, version=version)
    for _ in range(3):
        status, fields, body = edge.fetch(connection=connection)
        assert (status, body) == (200, b"hello")
    assert len(edge.fetch("/large", connection=connection)[2]) == 300_000
    assert origin.requests[0].get("X-Forwarded-Proto") == "https"
    connection.close()


def test_https_and_http_are_stored_apart(edge, origin):
    assert edge.fetch()[0] == 200
    assert edge.get("/", host="www.example.org").status == 200
    assert len(origin.requests) == 2


def test_a_name_has_its_certificate(edge):
    for name, shown in [("www.example.org", "www.example.org"), ("other.example", "other.example"), ("a.b.wild.example", "other.example"),
                        ("unknown.example", "www.example.org"), (None, "www.example.org")]:
        assert subject(edge.s_client(name=name)) == shown


def test_both_kinds_of_key_are_used_side_by_side(make, authority, www):
    edge = make([{"hosts": ["www.example.org"], "tls": [pair(www), pair(rsa_pair(authority, "www.example.org"))]}])
    assert "ECDSA" in edge.s_client("-tls1_2")
    assert "ECDHE-RSA-" in edge.s_client("-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256")
    assert "Peer signature type: RSA" in edge.s_client("-sigalgs", "rsa_pss_rsae_sha256")


def test_a_slow_reader_gets_everything(edge):
    connection = edge.tls()
    connection.sendall(b"GET /large HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n")
    time.sleep(0.2)
    got = b""
    while more := connection.recv(5000):
        got += more
    assert len(got.partition(b"\r\n\r\n")[2]) == 300_000


def test_an_upload_arrives_whole(edge, origin):
    origin.on("/upload", lambda request: request.answer(str(len(request.body))))
    connection = edge.tls()
    connection.sendall(b"POST /upload HTTP/1.1\r\nHost: www.example.org\r\nContent-Length: 1000000\r\n\r\n" + bytes(1_000_000))
    assert read_answer(connection)[2] == b"1000000"
    connection.close()


def test_pipelined_requests_in_one_record_are_all_answered(edge):
    connection = edge.tls()
    connection.sendall(b"GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n" * 5)
    got = b""
    while got.count(b"hello") < 5:
        got += connection.recv(65536)
    connection.close()


# ---- versions and protocols ----


def test_old_versions_and_weak_ciphers_are_refused(edge):
    for arguments in (["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], ["-tls1_2", "-cipher", "AES128-GCM-SHA256"], ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"]):
        assert "Cipher is (NONE)" in edge.s_client(*arguments)
    until(lambda: edge.metric("outrigger_tls_handshake_failures_total") >= 3, what="each of them to be counted")


def test_only_tls_13_if_so_configured(make, www):
    edge = make([{"hosts": ["www.example.org"], "tls": pair(www)}], config={"tls": {"min_version": "1.3"}})
    assert "Cipher is (NONE)" in edge.s_client("-tls1_2")
    assert "TLSv1.3" in edge.s_client()


def test_the_protocol_is_chosen_by_alpn(edge):
    for offered, chosen in [(["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1")]:
        with edge.tls(alpn=offered) as connection:
            assert connection.selected_alpn_protocol() == chosen
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        edge.tls(alpn=["smtp"])
    edge.await_metric(1, "outrigger_tls_handshake_failures_total", reason="protocol")


def test_without_http2_it_is_not_offered(make, www):
    edge = make([{"hosts": ["www.example.org"], "tls": pair(www)}], listen={"http2": False})
    with edge.tls(alpn=["h2", "http/1.1"]) as connection:
        assert connection.selected_alpn_protocol() == "http/1.1"


def test_curl_speaks_http2(edge, authority):
    done = subprocess.run(["curl", "-sS", "--http2", "--cacert", authority.file, "--resolve", f"www.example.org:{edge.tls_port}:127.0.0.1", "-w", "%{http_version}",
                           f"https://www.example.org:{edge.tls_port}/"], capture_output=True, text=True, timeout=20 * SLOW)
    assert done.stdout == "hello2", done.stderr


# ---- sessions ----


@pytest.mark.threads
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_sessions_are_resumed(edge, tmp_path, version):
    session = tmp_path / "session"
    request = b"GET / HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n"
    assert "New, TLS" in edge.s_client(version, "-sess_out", session, "-ign_eof", stdin=request)
    assert "Reused, TLS" in edge.s_client(version, "-sess_in", session, "-ign_eof", stdin=request)
    assert "New, TLS" in edge.s_client(version, "-sess_in", session, "-ign_eof", name="other.example", stdin=request)
    edge.await_metric(1, "outrigger_tls_handshakes_total", kind="resumed")


def test_sessions_outlive_a_restart_by_keys_of_a_file(make, www, tmp_path):
    keys = tmp_path / "tickets"
    keys.write_bytes(os.urandom(80))
    edge = make([{"hosts": ["www.example.org"], "tls": pair(www)}], config={"tls": {"tickets": str(keys)}})
    request = b"GET / HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n"
    edge.s_client("-sess_out", tmp_path / "session", "-ign_eof", stdin=request)
    edge.stop()
    edge.start()
    assert "Reused, TLS" in edge.s_client("-sess_in", tmp_path / "session", "-ign_eof", stdin=request)


def test_sessions_can_be_off(make, www):
    edge = make([{"hosts": ["www.example.org"], "tls": pair(www)}], config={"tls": {"tickets": "off"}})
    with edge.tls(version=ssl.TLSVersion.TLSv1_2) as connection:
        assert not connection.session.has_ticket


# ---- stapling ----


def test_an_ocsp_response_is_stapled(make, authority, www):
    response = ocsp_response(authority, www[0])
    edge = make([{"hosts": ["www.example.org"], "tls": pair(www, ocsp=str(response))}])
    assert "OCSP Response Status: successful" in edge.s_client("-status")


def test_without_one_there_is_none(edge):
    assert "OCSP response: no response sent" in edge.s_client("-status")


# ---- client certificates ----


@pytest.fixture
def guarded(make, authority, www, other):
    client = {"ca": str(authority.file), "header": "X-Client-Name"}
    return make([
        {"hosts": ["www.example.org"], "tls": pair(www), "client_certificates": {"mode": "require", **client}},
        {"hosts": ["other.example"], "tls": pair(other), "client_certificates": {"mode": "request", **client}},
        {"hosts": ["*.wild.example"], "tls": pair(other)},
    ])


@pytest.fixture(scope="module")
def user(authority):
    return authority.issue("alice", usage="clientAuth")


def test_a_client_certificate_is_required(guarded, user):
    with pytest.raises((ssl.SSLError, OSError, EOFError)):
        guarded.fetch()
    assert guarded.fetch(certificate=user)[0] == 200
    guarded.await_metric(1, "outrigger_tls_handshake_failures_total", reason="client_certificate")


def test_a_client_of_a_stranger_is_refused(guarded, tmp_path):
    stranger = Authority(tmp_path, "Stranger").issue("alice", usage="clientAuth")
    for name in ("www.example.org", "other.example"):
        with pytest.raises((ssl.SSLError, OSError, EOFError)):
            guarded.fetch(name=name, certificate=stranger)


def test_the_origin_is_told_who_it_is_and_nobody_can_forge_that(guarded, origin, user):
    forged = "X-Client-Name: CN=root\r\nx_client_name: CN=root\r\n"
    guarded.fetch("/a", name="other.example", certificate=user, headers=forged + "Connection: X-Client-Name\r\n")
    assert origin.requests[-1].get("X-Client-Name") == "CN=alice" and "x_client_name" not in origin.requests[-1].names()
    guarded.fetch("/b", name="other.example", headers=forged)
    assert origin.requests[-1].get("X-Client-Name") is None
    guarded.get("/c", host="other.example", fields=[("X-Client-Name", "CN=root")])
    assert origin.requests[-1].get("X-Client-Name") is None


def test_what_one_client_was_sent_is_not_sent_to_another(guarded, origin, user):
    origin.on("/mine", lambda request: request.answer(request.get("X-Client-Name", "nobody"), fields={"Cache-Control": "max-age=60"}))
    assert guarded.fetch("/mine", name="other.example", certificate=user)[2] == b"CN=alice"
    assert guarded.fetch("/mine", name="other.example")[2] == b"nobody"
    assert guarded.fetch("/mine", name="other.example", certificate=user)[2] == b"CN=alice"


def test_a_connection_serves_no_site_with_another_policy(guarded, user):
    assert guarded.fetch(name="a.wild.example", host="other.example")[0] == 421
    assert guarded.fetch(name="a.wild.example", host="www.example.org")[0] == 421
    assert guarded.fetch(name="other.example", host="www.example.org", certificate=user)[0] == 421
    assert guarded.fetch(name="a.wild.example", host="b.wild.example")[0] == 200


def test_a_name_of_no_site_is_misdirected(edge):
    assert edge.fetch(host="unknown.example")[0] == 421


def test_strictly_an_unknown_name_is_refused(make, www):
    edge = make([{"hosts": ["www.example.org"], "tls": pair(www)}], config={"tls": {"strict_sni": True}})
    for name in ("unknown.example", None):
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            edge.tls(name=name)
    assert edge.fetch()[0] == 200
    edge.await_metric(2, "outrigger_tls_handshake_failures_total", reason="name")


# ---- reload ----


def test_a_new_certificate_serves_after_a_reload_and_old_connections_stay(edge, authority, www):
    kept = edge.tls()
    edge.fetch(connection=kept)
    renewed = authority.issue("renewed.example")
    edge.config["sites"][0]["tls"] = pair(renewed)
    edge.write_config()
    edge.reload()
    until(lambda: subject(edge.s_client()) == "renewed.example", what="the new certificate")
    assert edge.fetch(connection=kept)[0] == 200
    kept.close()


def test_a_bad_pair_is_refused_and_the_old_one_stays(edge, www, other):
    edge.config["sites"][0]["tls"] = {"certificate": str(www[0]), "key": str(other[1])}
    edge.write_config()
    edge.reload()
    until(lambda: "the key is not the one of the certificate" in edge.errors(), what="the refusal")
    assert subject(edge.s_client()) == "www.example.org"


def test_a_configuration_with_a_bad_pair_is_located(tmp_path, www, other):
    path = tmp_path / "bad.yaml"
    path.write_text(f"listen: [{{address: 127.0.0.1:1, tls: true}}]\nsites:\n- hosts: a\n  origin: http://127.0.0.1:1\n  tls:\n    certificate: {www[0]}\n    key: {other[1]}\n")
    done = subprocess.run([os.environ.get("OUTRIGGER", "build/outrigger"), "-t", "-c", path], capture_output=True, text=True, timeout=20 * SLOW)
    assert done.returncode != 0
    assert f"{path}:7:10: error: {other[1]}: the key is not the one of the certificate" in done.stderr
    assert f"{path}:6:18: warning" not in done.stderr


# ---- what clients do ----


@pytest.mark.parametrize("names, days, said", [
    (["b.example"], (-1, 90), 'the certificate is not for "a.example": '),
    (["a.example", "b.example"], (-1, 20), "the certificate expires in "),
    (["a.example", "b.example"], (-9, -1), "the certificate has expired: "),
    (["a.example", "b.example"], (1, 90), "the certificate is not valid yet: "),
    (["a.example", "b.example"], (-1, 90), None),
])
def test_what_is_odd_about_a_certificate_is_a_warning_at_its_place(tmp_path, authority, names, days, said):
    certificate, key = authority.issue(*names, days=days)
    tls = f"tls: {{certificate: {certificate}, key: {key}}}"
    path = tmp_path / "odd.yaml"
    path.write_text(f"listen: [{{address: 127.0.0.1:1, tls: true}}]\nsites:\n- {{hosts: a.example, origin: http://127.0.0.1:3, {tls}}}\n"
                    f"- {{hosts: b.example, origin: http://127.0.0.1:2, {tls}}}\n")
    done = subprocess.run([BINARY, "-t", "-c", str(path)], capture_output=True, text=True, timeout=20 * SLOW)
    assert done.returncode == 0, done.stderr
    place = f"{path}:3:{path.read_text().splitlines()[2].index(str(certificate)) + 1}: warning: {certificate}: "
    if said:
        assert done.stderr.count(place + said) == 1, done.stderr
    else:
        assert done.stderr == ""


def test_plain_http_is_told_so(edge):
    with socket.create_connection(("127.0.0.1", edge.tls_port), timeout=10 * SLOW) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n")
        got = b""
        while more := plain.recv(4096):
            got += more
    assert got.startswith(b"HTTP/1.1 400 ") and b"The plain HTTP request was sent to HTTPS port" in got


def test_garbage_and_broken_handshakes_end(edge):
    for said in (b"\x00" * 10, b"SSH-2.0-x\r\n"[::-1], b"\x16\x03\x01\xff\xff" + b"x" * 100, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"):
        with socket.create_connection(("127.0.0.1", edge.tls_port), timeout=10 * SLOW) as plain:
            plain.sendall(said)
            try:
                while plain.recv(4096):
                    pass
            except ConnectionResetError:
                pass
    assert edge.fetch()[0] == 200


def test_a_slow_handshake_has_a_deadline(make, www):
    edge = make([{"hosts": ["www.example.org"], "tls": pair(www)}], config={"timeouts": {"header": "500ms"}})
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", edge.tls_port), timeout=10 * SLOW) as plain:
        plain.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert plain.recv(100) == b""
    assert 0.4 < time.monotonic() - began
    edge.await_metric(1, "outrigger_tls_handshake_failures_total", reason="timeout")


def test_a_client_that_goes_in_the_middle_is_counted(edge):
    with socket.create_connection(("127.0.0.1", edge.tls_port)) as plain:
        plain.sendall(b"\x16\x03\x01\x02\x00\x01")
    edge.await_metric(1, "outrigger_tls_handshake_failures_total", reason="closed")


def test_an_upload_cut_off_is_no_request(edge, origin):
    connection = edge.tls()
    connection.sendall(b"POST /upload HTTP/1.1\r\nHost: www.example.org\r\nContent-Length: 100\r\n\r\nhalf")
    os.close(connection.detach())
    edge.await_access_lines(1)
    assert edge.access_lines()[0].split('"')[2].split()[0] == "499"


# ---- what is told ----


def test_the_log_and_the_metrics_say_what_was_negotiated(make, www, tmp_path):
    edge = make([{"hosts": ["www.example.org"], "tls": pair(www)}], config={"access_log": {"path": str(tmp_path / "access.log"), "format": "json"}})
    edge.fetch()
    line = json.loads(edge.await_access_lines(1)[0])
    assert (line["tls"], line["cipher"], line["sni"]) == ("TLSv1.3", "TLS_AES_128_GCM_SHA256", "www.example.org")
    assert edge.metric("outrigger_tls_handshakes_total", kind="full") == 1
    assert edge.metric("outrigger_tls_certificate_expiry_seconds", site="www.example.org", key="EC") > time.time()


def test_keys_need_not_be_readable_by_the_account_that_serves(make, authority, tmp_path):
    if os.getuid() != 0:
        pytest.skip("needs root")
    certificate, key = authority.issue("www.example.org")
    os.chmod(key, 0o400)
    edge = make([{"hosts": ["www.example.org"], "tls": pair((certificate, key))}], config={"user": "nobody", "access_log": "off", "error_log": "-"})
    assert edge.fetch()[0] == 200
    proxy = edge.children("proxy")[0]
    assert "Max core file size        0 " in open(f"/proc/{proxy}/limits").read()


def replace(files, by):
    """As who renews certificates does it: each file is another at once."""
    for old, new in zip(files, by):
        fresh = old.with_suffix(".fresh")
        fresh.write_bytes(new.read_bytes())
        os.replace(fresh, old)


@pytest.mark.threads
def test_files_that_change_serve_without_a_signal(make, authority):
    shown = authority.issue("www.example.org")
    edge = make([{"hosts": ["www.example.org"], "tls": pair(shown)}])
    kept = edge.tls()
    replace(shown, authority.issue("renewed.example"))
    until(lambda: subject(edge.s_client()) == "renewed.example", what="the new certificate")
    assert edge.fetch(connection=kept)[0] == 200
    kept.close()
    replace(shown[1:], authority.issue("stranger.example")[1:])
    until(lambda: "are refused" in edge.errors(), what="the refusal")
    assert subject(edge.s_client()) == "renewed.example"


def test_a_drain_waits_for_what_a_slow_reader_was_promised(edge):
    connection = edge.tls()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sendall(b"GET /large HTTP/1.1\r\nHost: www.example.org\r\n\r\n")
    got = connection.recv(1000)
    edge.send_signal(signal.SIGQUIT)
    time.sleep(0.3)
    while more := connection.recv(20000):
        got += more
    assert len(got.partition(b"\r\n\r\n")[2]) == 300_000
