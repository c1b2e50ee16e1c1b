"""TLS to origins: who is talked to is verified before a byte of a request is sent, and what goes wrong is told."""
import contextlib
import os
import socket
import ssl
import subprocess
import threading
import warnings

import pytest

from harness.accepting import Accepting
from harness.authority import Authority, server_context
from harness.origin import Origin
from harness.outrigger import BINARY, SLOW
from harness.poll import until
from harness.ports import free_port
from harness.status import status_of

NAME = "origin.test"


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory):
    """An authority that nobody trusts."""
    return Authority(tmp_path_factory.mktemp("stranger"), "Stranger")


@pytest.fixture(scope="session")
def good(authority):
    """(certificate, key) for both names."""
    return authority.issue(NAME, "127.0.0.1")


@pytest.fixture
def front(make_outrigger, authority):
    """An accelerator in front of these origins, which trusts `authority`."""

    def make(*origins, tls=None, **options):
        site = {"origin_tls": {"ca": str(authority.file), **(tls or {})}, **options.pop("site", {})}
        return make_outrigger(origin=[o if isinstance(o, str) else o.url for o in origins], site=site, **options)

    return make


def page(origin, **fields):
    return origin.on("/page", lambda request: request.answer("page", fields={"Cache-Control": "max-age=60", **fields}))


def test_a_page_comes_by_tls_and_is_stored(front, make_origin, good):
    context = server_context(*good)
    origin = page(make_origin(tls=context))
    outrigger = front(origin)
    for _ in range(3):
        response = outrigger.get("/page")
        assert response.status == 200 and response.body == b"page"
    assert origin.count() == 1 and context.asked == [None], "an address is no server name (RFC 6066 §3)"
    assert "hit" in status_of(response)


def test_the_server_is_asked_for_by_its_name(front, make_origin, good, name_server):
    context = server_context(*good)
    origin = page(make_origin(tls=context))
    name_server.records[NAME] = [("127.0.0.1", 60)]
    outrigger = front(f"https://{NAME}:{origin.port}", config={"resolver": name_server.address})
    assert outrigger.get("/page").body == b"page"
    assert context.asked == [NAME] and origin.last().get("host") == "site.test"


def test_another_name_can_be_asked_for(front, make_origin, good):
    context = server_context(*good)
    origin = page(make_origin(tls=context))
    outrigger = front(origin, tls={"name": NAME})
    assert outrigger.get("/page").body == b"page"
    assert context.asked == [NAME]


def test_the_protocol_is_http1_whatever_the_server_prefers(front, make_origin, good):
    origin = make_origin(tls=server_context(*good))
    origin.on("/page", lambda request: request.answer(f"{request.connection.socket.selected_alpn_protocol()} {request.connection.socket.version()}"))
    assert front(origin).get("/page").body == b"http/1.1 TLSv1.3"


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_both_versions(front, make_origin, good, version):
    context = server_context(*good)
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
    origin = page(make_origin(tls=context))
    outrigger = front(origin, site={"pool": {"connections": 0}})
    assert outrigger.get("/page").body == b"page"
    assert outrigger.get("/page?2").body == b"page"


# ---- what is refused

REFUSED = {
    # how the certificate is made: (error in Cache-Status, words in the log)
    "another name": ("origin-tls-name", "mismatch"),
    "another address": ("origin-tls-name", "mismatch"),
    "no name": ("origin-tls-name", "mismatch"),
    "another authority": ("origin-tls-untrusted", "unable to get local issuer certificate"),
    "its own authority": ("origin-tls-untrusted", "self-signed certificate"),
    "expired": ("origin-tls-expired", "certificate has expired"),
    "not yet valid": ("origin-tls-expired", "certificate is not yet valid"),
    "for clients": ("origin-tls-untrusted", "unsuitable certificate purpose"),
}


def certificate_of(kind, authority, stranger):
    if kind == "another name":
        return authority.issue("other.test")
    if kind == "another address":
        return authority.issue("127.0.0.2")
    if kind == "no name":
        return authority.issue()
    if kind == "another authority":
        return stranger.issue("127.0.0.1")
    if kind == "its own authority":
        return stranger.file, stranger.key
    days = {"expired": (-9, -2), "not yet valid": (2, 9)}.get(kind, (-1, 30))
    return authority.issue("127.0.0.1", days=days, usage="clientAuth" if kind == "for clients" else "serverAuth")


@pytest.fixture(scope="module")
def refusing(make_module_outrigger, authority, stranger):
    """An origin for each of them, and a site that verifies it; and a site that does not, whose name begins with "any-"."""
    origins = {kind: page(Origin(tls=server_context(*certificate_of(kind, authority, stranger)))) for kind in REFUSED}
    sites = []
    for kind, origin in origins.items():
        host = kind.replace(" ", "-")
        sites.append({"hosts": [f"{host}.test"], "origin": origin.url, "origin_tls": {"ca": str(authority.file)}})
        sites.append({"hosts": [f"any-{host}.test"], "origin": origin.url, "origin_tls": {"verify": False}})
    yield make_module_outrigger(config={"sites": sites}), origins
    for origin in origins.values():
        origin.stop()


@pytest.mark.parametrize("kind", REFUSED)
def test_a_certificate_that_is_not_good_is_refused_and_the_reason_told(refusing, kind):
    outrigger, origins = refusing
    requests = origins[kind].count()
    response = outrigger.get("/page", host=f"{kind.replace(' ', '-')}.test", fields={"Cookie": "secret"})
    word, words = REFUSED[kind]
    assert response.status == 502 and f"detail={word}" in response.get("cache-status")
    until(lambda: any(f"127.0.0.1:{origins[kind].port}" in line and words in line for line in outrigger.errors().splitlines()), what=f"{words!r} in the log")
    assert origins[kind].count() == requests, "not a byte of the request was sent"


@pytest.mark.parametrize("kind", REFUSED)
def test_all_of_it_is_accepted_where_nothing_is_verified(refusing, kind):
    outrigger, _ = refusing
    assert outrigger.get("/page", host=f"any-{kind.replace(' ', '-')}.test").body == b"page"


def test_the_systems_authorities_do_not_know_ours(make_outrigger, make_origin, good):
    origin = page(make_origin(tls=server_context(*good)))
    response = make_outrigger(origin=origin.url).get("/page")
    assert response.status == 502 and "detail=origin-tls-untrusted" in response.get("cache-status") and origin.count() == 0


def test_an_old_version_is_refused(front, make_origin, good):
    context = server_context(*good)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    origin = page(make_origin(tls=context))
    response = front(origin).get("/page")
    assert response.status == 502 and "detail=origin-tls-failed" in response.get("cache-status") and origin.count() == 0


class Speaker:
    """Says something at once to whoever connects, keeps what it is told, and then waits or ends."""

    def __init__(self, says, ends=True):
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        self.says, self.ends, self.told, self.connections = says, ends, b"", []
        self.accepting = Accepting(listener, self._accepted)

    def _accepted(self, client):
        self.connections.append(client)
        threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError):
            client.sendall(self.says)
            if self.ends:
                client.shutdown(socket.SHUT_WR)
            while data := client.recv(65536):
                self.told += data

    def stop(self):
        self.accepting.stop()
        for client in self.connections:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def speaker():
    made = []

    def make(*arguments, **options):
        made.append(Speaker(*arguments, **options))
        return made[-1]

    yield make
    for one in made:
        one.stop()


PLAIN = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 6\r\n\r\npoison"
NO_HANDSHAKES = [PLAIN, PLAIN * 100, b"SSH-2.0-OpenSSH\r\n", b"\x15\x03\x01\x00\x02\x02\x28", b"\x16\x03\x03\xff\xff" + b"x" * 100, b"\0" * 64, b""]


def test_what_is_no_handshake_is_no_answer(make_outrigger, authority, speaker):
    speakers = [speaker(says) for says in NO_HANDSHAKES]
    outrigger = make_outrigger(config={"sites": [{"hosts": [f"site{n}.test"], "origin": one.url, "origin_tls": {"ca": str(authority.file)}} for n, one in enumerate(speakers)]})
    for number, one in enumerate(speakers):
        response = outrigger.get("/page", host=f"site{number}.test", fields={"Cookie": "secret"})
        assert response.status == 502 and "detail=origin-tls-" in response.get("cache-status") and b"poison" not in response.body, one.says
        assert b"secret" not in one.told and b"GET" not in one.told, "no plaintext goes out"
        if one.says.startswith(PLAIN):
            assert "detail=origin-tls-plaintext" in response.get("cache-status")


def test_plaintext_in_front_of_the_handshake_is_not_taken_for_the_answer(front, make_origin, good):
    """The handshake that follows is a good one."""
    origin = page(make_origin(tls=server_context(*good)))
    shake = origin._shake_hands
    origin._shake_hands = lambda client: client.sendall(PLAIN) or shake(client)
    response = front(origin).get("/page")
    assert response.status == 502 and b"poison" not in response.body and origin.count() == 0


def test_plaintext_behind_the_handshake_is_not_taken_for_the_answer(front, make_origin, good):
    origin = make_origin(tls=server_context(*good))
    origin.on("/page", lambda request: socket.socket(fileno=request.connection.socket.detach()).sendall(PLAIN))
    response = front(origin).get("/page")
    assert response.status == 502 and b"poison" not in response.body


def test_a_handshake_that_does_not_end_has_the_time_of_a_connect(front, speaker):
    one = speaker(b"", ends=False)
    outrigger = front(one.url, site={"timeouts": {"connect": "200ms"}, "retries": 0})
    response = outrigger.get("/page")
    assert response.status == 504 and "detail=origin-connect-timeout" in response.get("cache-status")
    assert b"GET" not in one.told


# ---- client certificates


def test_our_certificate_is_shown_to_who_asks_for_one(front, make_origin, authority, good):
    context = server_context(*good, client_authority=authority)
    origin = make_origin(tls=context)
    origin.on("/page", lambda request: request.answer(str(request.connection.socket.getpeercert()["subject"])))
    certificate, key = authority.issue("accelerator.test", usage="clientAuth")
    outrigger = front(origin, tls={"certificate": str(certificate), "key": str(key)})
    assert b"accelerator.test" in outrigger.get("/page").body
    assert front(origin).get("/page").status == 502


# ---- connections and sessions


def told_of_connection(request):
    request.answer(f"{request.connection_number} {request.connection.socket.session_reused}", fields={"Cache-Control": "no-store"})


def ask(outrigger, target="/", **options):
    response = outrigger.get(target, **options)
    assert response.status == 200, response
    number, resumed = response.body.decode().split()
    return int(number), resumed == "True"


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_kept_connection_is_used_again(front, make_origin, good, version):
    """Also where session tickets come while it is idle."""
    context = server_context(*good)
    context.maximum_version = getattr(ssl.TLSVersion, version)
    origin = make_origin(tls=context).on("*", told_of_connection)
    outrigger = front(origin, config={"workers": 1})
    assert [ask(outrigger)[0] for _ in range(5)] == [1] * 5


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_new_connection_resumes_the_session(front, make_origin, good, version):
    context = server_context(*good)
    context.maximum_version = getattr(ssl.TLSVersion, version)
    origin = make_origin(tls=context).on("*", told_of_connection)
    outrigger = front(origin, site={"pool": {"connections": 0}}, config={"workers": 1})
    assert [ask(outrigger) for _ in range(4)] == [(1, False), (2, True), (3, True), (4, True)]
    assert outrigger.metric("outrigger_origin_tls_handshakes_total", kind="full") == 1
    assert outrigger.metric("outrigger_origin_tls_handshakes_total", kind="resumed") == 3


def test_sites_with_other_settings_share_neither_connections_nor_sessions(make_outrigger, make_origin, authority, good):
    origin = make_origin(tls=server_context(*good)).on("*", told_of_connection)
    settings = {"a": {}, "b": {"name": NAME}, "c": {"verify": False}}
    sites = [{"hosts": [f"{host}.test"], "origin": origin.url, "origin_tls": {"ca": str(authority.file), **tls}} for host, tls in settings.items()]
    outrigger = make_outrigger(config={"workers": 1, "sites": sites})
    assert [ask(outrigger, host=f"{host}.test") for host in "abcabc"] == [(1, False), (2, False), (3, False), (1, False), (2, False), (3, False)]


def test_a_connection_that_the_origin_closed_is_replaced(front, make_origin, good):
    origin = make_origin(tls=server_context(*good)).on("*", told_of_connection)
    outrigger = front(origin, config={"workers": 1})
    assert ask(outrigger)[0] == 1
    origin.close_connections()
    assert ask(outrigger)[0] == 2


# ---- failover


def test_another_origin_answers_when_one_has_no_good_certificate(front, make_origin, authority, good):
    bad = page(make_origin(tls=server_context(*authority.issue("other.test"))))
    fine = make_origin(tls=server_context(*good)).on("*", lambda request: request.answer("page", fields={"Cache-Control": "no-store"}))
    outrigger = front(bad, fine, config={"workers": 1})
    for _ in range(6):
        assert outrigger.get("/page").body == b"page"
    assert bad.count() == 0 and len(bad.handshakes_failed) <= 2, "it is skipped for a while"


def test_another_address_is_tried_when_one_has_no_good_certificate(front, make_origin, authority, good, name_server):

    port = free_port()
    bad = page(make_origin(address="127.0.0.2", port=port, tls=server_context(*authority.issue("other.test"))))
    fine = page(make_origin(address="127.0.0.3", port=port, tls=server_context(*authority.issue(NAME))))
    name_server.records[NAME] = [("127.0.0.2", 60), ("127.0.0.3", 60)]
    outrigger = front(f"https://{NAME}:{port}", config={"resolver": name_server.address, "workers": 1})
    for number in range(4):
        assert outrigger.get(f"/page?{number}").body == b"page"
    assert bad.count() == 0 and fine.count() == 4


def test_a_mixture_of_plain_and_tls_origins(front, make_origin, good):
    plain = make_origin().on("*", lambda request: request.answer("plain", fields={"Cache-Control": "no-store"}))
    secure = make_origin(tls=server_context(*good)).on("*", lambda request: request.answer("secure", fields={"Cache-Control": "no-store"}))
    outrigger = front(plain, secure, config={"workers": 1})
    assert {outrigger.get("/").body for _ in range(4)} == {b"plain", b"secure"}


def test_the_stale_response_is_served_when_the_certificate_is_bad(front, make_origin, authority, good):
    context = server_context(*good)
    origin = make_origin(tls=context)
    origin.on("/page", lambda request: request.answer("page", fields={"Cache-Control": "max-age=0, stale-if-error=60", "ETag": '"1"'}))
    outrigger = front(origin, config={"workers": 1})
    assert outrigger.get("/page").body == b"page"
    context.load_cert_chain(*authority.issue("other.test"))
    origin.close_connections()
    response = outrigger.get("/page")
    assert response.body == b"page" and "detail=stale-if-error" in response.get("cache-status")


# ---- bodies


def test_large_bodies_both_ways(front, make_origin, good):
    body = bytes(range(256)) * 8192  # 2 MiB
    origin = make_origin(tls=server_context(*good)).on("/echo", lambda request: request.answer(request.body, fields={"Cache-Control": "no-store"}))
    with front(origin).connect(timeout=30 * SLOW) as client:
        for _ in range(2):
            assert client.request("/echo", method="POST", body=body).body == body


def test_chunks_and_a_body_that_is_one_byte_a_record(front, make_origin, good):
    def chunks(request):
        request.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n")
        for byte in b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n":
            request.send(bytes([byte]))

    origin = make_origin(tls=server_context(*good)).on("/page", chunks)
    outrigger = front(origin)
    for _ in range(2):
        assert outrigger.get("/page").body == b"hello world"
    assert origin.count() == 1


def test_an_end_without_close_notify_is_no_end_of_a_body(front, make_origin, good):
    """RFC 9112 §9.8: anybody in between could have made it."""
    def until_close(request):
        request.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nConnection: close\r\n\r\nhello")
        if "orderly" in request.target:
            with contextlib.suppress(OSError):
                request.connection.socket.unwrap()
        raw = socket.socket(fileno=request.connection.socket.detach())
        raw.shutdown(socket.SHUT_RDWR)
        raw.close()

    origin = make_origin(tls=server_context(*good)).on("/orderly", until_close).on("/cut", until_close)
    outrigger = front(origin)
    for _ in range(2):
        assert outrigger.get("/orderly").body == b"hello"
    assert origin.count("/orderly") == 1
    for number in 1, 2:
        response = outrigger.get("/cut")
        assert not response.complete or response.status == 502
        assert origin.count("/cut") >= number, "what was cut off is not stored"


@pytest.mark.threads
def test_many_at_once(front, make_origin, good):
    origin = make_origin(tls=server_context(*good)).on("*", lambda request: request.answer(request.target, fields={"Cache-Control": "no-store"}))
    outrigger = front(origin)
    wrong = []

    def client(number):
        with outrigger.connect(timeout=30 * SLOW) as connection:
            for turn in range(5):
                target = f"/{number}/{turn}"
                if connection.request(target).body.decode() != target:
                    wrong.append(target)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and origin.count() == 80


def test_a_tunnel(front, make_origin, good):
    def websocket(request):
        request.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello")
        while data := request.connection.socket.recv(65536):
            request.send(data.upper())

    origin = make_origin(tls=server_context(*good)).on("/ws", websocket)
    with front(origin).connect() as client:
        response = client.request("/ws", fields={"Connection": "upgrade", "Upgrade": "websocket"})
        assert response.status == 101 and client.read_exactly(5) == b"hello"
        for said in b"one", b"two" * 20000:
            client.send(said)
            assert client.read_exactly(len(said)) == said.upper()


# ---- files


def test_files_are_read_anew_by_a_reload(make_outrigger, make_origin, authority, stranger, tmp_path):
    origin = make_origin(tls=server_context(*stranger.issue("127.0.0.1"))).on("*", lambda request: request.answer("page", fields={"Cache-Control": "no-store"}))
    trusted = tmp_path / "trusted.pem"
    trusted.write_text(authority.file.read_text())
    outrigger = make_outrigger(origin=origin.url, site={"origin_tls": {"ca": str(trusted)}, "down": 0})
    assert outrigger.get("/").status == 502
    trusted.write_text(authority.file.read_text() + stranger.file.read_text())
    outrigger.reload()
    until(lambda: outrigger.get("/").status == 200, what="the new file to be heeded")
    trusted.write_text("nonsense")
    outrigger.reload()
    until(lambda: "the new configuration is refused" in outrigger.errors(), what="the reload to be refused")
    assert outrigger.get("/").status == 200


@pytest.mark.parametrize("kind", ["nonsense", "another key", "no certificate", "no authority"])
def test_files_that_are_not_good_are_refused_with_their_line(make_outrigger, authority, tmp_path, kind):
    certificate, key = authority.issue("accelerator.test", usage="clientAuth")
    other = authority.issue("other.test")[1]
    (tmp_path / "nonsense").write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    tls = {"nonsense": {"certificate": tmp_path / "nonsense", "key": key}, "another key": {"certificate": certificate, "key": other},
           "no certificate": {"certificate": key, "key": key}, "no authority": {"ca": key}}[kind]
    outrigger = make_outrigger(origin="https://127.0.0.1:1", site={"origin_tls": {n: str(p) for n, p in tls.items()}}, wait=False)
    assert outrigger.process.wait(20 * SLOW) != 0
    errors = [line for line in outrigger.output_text().splitlines() if ": error: " in line]
    assert errors and all(line.startswith(f"{outrigger.config_path}:") for line in errors), outrigger.output_text()


def test_a_key_is_read_by_root_only(front, make_origin, authority, good):
    certificate, key = authority.issue("accelerator.test", usage="clientAuth")
    key.chmod(0o600)
    origin = page(make_origin(tls=server_context(*good, client_authority=authority)))
    outrigger = front(origin, tls={"certificate": str(certificate), "key": str(key)}, config={"user": "nobody"})
    assert outrigger.get("/page").body == b"page"
    (proxy,) = outrigger.children("proxy")

    os.kill(proxy, 9)  # and by a proxy that is started anew
    key.unlink()
    outrigger.await_children("proxy", 1, without=proxy)
    until(lambda: outrigger.get("/page").body == b"page", what="the new proxy to serve")


def test_files_are_checked_by_a_test_of_the_configuration(make_outrigger, authority, tmp_path):
    certificate, key = authority.issue("accelerator.test", usage="clientAuth")
    other = authority.issue("other.test")[1]
    outrigger = make_outrigger(origin="https://127.0.0.1:1", site={"origin_tls": {"certificate": str(certificate), "key": str(key)}})
    test = [BINARY, "-c", str(outrigger.config_path), "-t"]
    assert subprocess.run(test, capture_output=True).returncode == 0
    outrigger.config["sites"][0]["origin_tls"]["key"] = str(other)
    outrigger.write_config()
    tested = subprocess.run(test, capture_output=True, text=True)
    assert tested.returncode != 0 and str(other) in tested.stderr
