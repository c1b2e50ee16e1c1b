"""HTTP/1 on the client side: connections that are kept, pipelining, versions, methods, targets, expectations, and clients that do things by halves."""
import contextlib
import socket
import subprocess
import threading

import pytest

from harness.http import Connection, Truncated
from harness.poll import until

HOST = "Host: site.test\r\n"


def no_store(body, **fields):
    return lambda request: request.answer(body, fields={"Cache-Control": "no-store", **fields})


def test_a_connection_is_kept_for_many_requests(proxy, back, path):
    back.on(path, b"hit").on(path + "/miss", no_store("miss"))
    with proxy.connect() as client:
        for _ in range(50):
            assert client.request(path).body == b"hit"
            assert client.request(path + "/miss").body == b"miss"
            assert client.request(path + "/miss", method="POST", body=b"x" * 1000).body == b"miss"
    assert back.count(path) == 1


def test_connection_close_is_obeyed_and_announced(proxy, back, path):
    back.on(path, b"page")
    for _ in range(2):
        with proxy.connect() as client:
            response = client.request(path, fields={"Connection": "close"})
            assert (response.body, response.get("connection")) == (b"page", "close")
            assert client.closed_by_peer()


def test_a_kept_connection_is_not_announced_in_http_1_1(proxy, back, path):
    back.on(path, b"page")
    with proxy.connect() as client:
        assert client.request(path).get("connection") is None


def test_pipelined_requests_are_answered_in_order(proxy, back, path):
    """Hits behind misses, misses behind hits, other methods between; the origin answers the slow one last."""
    go = threading.Event()
    back.on(path + "/hit", b"hit")
    back.on(path + "/slow", lambda request: (go.wait(30), request.answer("slow", fields={"Cache-Control": "no-store"})))
    back.on(path + "/post", lambda request: request.answer(request.body, fields={"Cache-Control": "no-store"}))
    back.on(path + "/big", b"B" * 200000)
    proxy.get(path + "/hit")
    with proxy.connect() as client:
        def get(name):
            return f"GET {path}/{name} HTTP/1.1\r\n{HOST}\r\n"
        client.send(get("hit") + get("slow") + get("hit") + f"POST {path}/post HTTP/1.1\r\n{HOST}Content-Length: 4\r\n\r\nbody" + get("big")
                    + f"HEAD {path}/hit HTTP/1.1\r\n{HOST}\r\n"
                    + f"POST {path}/post HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + get("missing") + get("hit"))
        assert client.response().body == b"hit"
        go.set()
        assert client.response().body == b"slow"
        assert client.response().body == b"hit"
        assert client.response().body == b"body"
        assert client.response().body == b"B" * 200000
        head = client.response("HEAD")
        assert head.get("content-length") == "3"
        assert client.response().body == b"abc"
        assert client.response().status == 404
        assert client.response().body == b"hit"


def test_a_thousand_pipelined_hits(proxy, back, path):
    back.on(path, lambda request: request.answer(request.target, fields={"Cache-Control": "max-age=60"}))
    for n in range(10):
        proxy.get(f"{path}?{n}")
    with proxy.connect() as client:
        sender = threading.Thread(target=lambda: client.send("".join(f"GET {path}?{n % 10} HTTP/1.1\r\n{HOST}\r\n" for n in range(1000))))
        sender.start()
        for n in range(1000):
            assert client.response().body == f"{path}?{n % 10}".encode()
        sender.join()
    assert back.count(f"{path}?3") == 1


def test_a_pipeline_ends_where_the_client_said_close(proxy, back, path):
    back.on(path, b"page")
    with proxy.connect() as client:
        client.send(f"GET {path} HTTP/1.1\r\n{HOST}\r\nGET {path} HTTP/1.1\r\n{HOST}Connection: close\r\n\r\nGET {path} HTTP/1.1\r\n{HOST}\r\n")
        assert client.response().body == b"page"
        assert client.response().get("connection") == "close"
        assert client.read_to_end() == b""


def test_http_1_0_is_closed_after_its_answer(proxy, back, path):
    back.on(path, b"page")
    for _ in range(2):
        with proxy.connect() as client:
            response = client.request(path, version="1.0")
            assert (response.status, response.body) == (200, b"page")
            assert client.closed_by_peer()


def test_http_1_0_needs_no_host(proxy, back, path):
    """The origin is asked in HTTP/1.1, which does: with its own name."""
    back.on(path, b"page")
    assert proxy.get(path, version="1.0", host=None).body == b"page"
    assert back.last(path).get("host") == f"127.0.0.1:{back.port}" and back.last(path).get("x-forwarded-host") is None


def test_http_1_0_keep_alive_is_echoed(proxy, back, path):
    back.on(path, b"page")
    with proxy.connect() as client:
        for _ in range(3):
            response = client.request(path, version="1.0", fields={"Connection": "keep-alive"})
            assert response.body == b"page" and response.get("connection").lower() == "keep-alive"


@pytest.mark.parametrize("keep_alive", [True, False])
def test_http_1_0_gets_no_chunks(proxy, back, path, keep_alive):
    """Length unknown and no chunks allowed: the end of the body is the end of the connection."""
    go = threading.Event()
    back.on(path, lambda request: (request.send(b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n"), go.wait(30),
                                   request.send(b"4\r\nbody\r\n0\r\n\r\n")))
    with proxy.connect() as client:
        client.send(f"GET {path} HTTP/1.0\r\n{HOST}{'Connection: keep-alive' if keep_alive else 'X: y'}\r\n\r\n")
        head = client.read_until(b"\r\n\r\n")
        go.set()
        body = client.read_to_end()
    assert body == b"body" and b"transfer-encoding" not in head.lower() and b"keep-alive" not in head.lower()


def test_http_1_0_gets_no_interim_responses(proxy, back, path):
    back.on(path, lambda request: (request.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"), request.answer("page")))
    interim = []
    with proxy.connect() as client:
        client.send(f"GET {path} HTTP/1.0\r\n{HOST}\r\n")
        assert client.response(interim=interim).body == b"page" and interim == []


def test_interim_responses_are_passed_on(proxy, back, path):
    back.on(path, lambda request: (request.send(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n"),
                                   request.answer("page")))
    interim = []
    with proxy.connect() as client:
        client.send(f"GET {path} HTTP/1.1\r\n{HOST}\r\n")
        assert client.response(interim=interim).body == b"page"
    assert [r.status for r in interim] == [102, 103]
    assert interim[1].get("link") == "</x>" and interim[1].get("x-hop") is None


def test_head_has_the_head_of_get_and_no_body(proxy, back, path):
    back.on(path, lambda request: request.answer("twelve bytes", fields={"Cache-Control": "no-store", "X-Method": request.method}))
    with proxy.connect() as client:
        for _ in range(2):
            response = client.request(path, method="HEAD")
            assert (response.status, response.get("content-length"), response.get("x-method")) == (200, "12", "HEAD")
        assert client.request(path).body == b"twelve bytes"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "MKCOL", "BREW", "M-SEARCH", "get", "Foo!#$%&'*+-.^_`|~9"])
def test_every_method_is_forwarded_as_it_came(proxy, back, path, method):
    back.on(path, lambda request: request.answer(request.method, fields={"Cache-Control": "max-age=60"}))
    for n in range(1, 3):
        response = proxy.get(path, method=method)
        assert (response.status, response.body) == (200, method.encode())
        assert back.count(path) == n, "only GET and HEAD are answered from the cache"


def test_an_absolute_target_replaces_host(proxy, back, path):
    back.on(path, lambda request: request.answer(f"{request.target} {request.get('host')}", fields={"Cache-Control": "max-age=60"}))
    with proxy.connect() as client:
        assert client.request(f"http://real.test{path}", host="other.test").body == f"{path} real.test".encode()
        assert client.request(path, host="real.test").body == f"{path} real.test".encode()
        assert back.count(path) == 1, "one key"
        assert client.request(path, host="other.test").body == f"{path} other.test".encode()
        assert client.request(f"http://REAL.test:80{path}", host="real.test").status == 200


def test_an_absolute_target_without_path_means_the_root(proxy, back):
    back.on("/", lambda request: request.answer(request.target))
    back.on("/?a=b", lambda request: request.answer(request.target))
    with proxy.connect() as client:
        assert client.request("http://root.test", host="root.test").body == b"/"
        assert client.request("http://root.test?a=b", host="root.test").body == b"/?a=b"


def test_options_of_the_whole_server_is_forwarded(proxy, back):
    back.on("*", lambda request: request.answer(f"{request.method} {request.target}"))
    try:
        with proxy.connect() as client:
            assert client.request("*", method="OPTIONS").body == b"OPTIONS *"
            # RFC 9112 §3.2.4: what has neither path nor query means the same.
            assert client.request("http://site.test", method="OPTIONS").body == b"OPTIONS *"
    finally:
        del back.handlers["*"]


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
def test_no_more_servers_are_asked_than_max_forwards_says(proxy, back, path, method):
    """RFC 9110 §7.6.2."""
    back.on(path, lambda request: request.answer(request.get("max-forwards")))
    for sent, passed in (("1", b"0"), ("10", b"9"), ("010", b"9"), ("x", b"x"), ("", b"")):
        assert proxy.get(path, method=method, fields={"Max-Forwards": sent}).body == passed
    before = back.count(path)
    response = proxy.get(path, method=method, fields={"Max-Forwards": "0"})
    assert response.status == (200 if method == "OPTIONS" else 405) and "GET" in response.get("allow") and back.count(path) == before
    assert proxy.get(path, fields={"Max-Forwards": "0"}).body == b"0", "of other methods it says nothing"


def test_100_continue_is_sent_when_the_body_is_wanted(proxy, back, path):
    back.on(path, lambda request: request.answer(request.body))
    with proxy.connect() as client:
        for _ in range(2):
            client.send(f"PUT {path} HTTP/1.1\r\n{HOST}Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
            assert client.head().status == 100
            assert client.send("5\r\nhello\r\n0\r\n\r\n").response().body == b"hello"


def test_no_100_continue_when_the_body_came_with_the_head(proxy, back, path):
    """RFC 9110 §10.1.1 lets it be left out; one is tolerated, but never more, nor one behind the final response."""
    back.on(path, lambda request: request.answer(request.body))
    interim = []
    with proxy.connect() as client:
        client.send(f"PUT {path} HTTP/1.1\r\n{HOST}Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
        assert client.response(interim=interim).body == b"hello" and len(interim) <= 1
        assert client.request(path, method="PUT", body=b"again").body == b"again"


def test_no_100_continue_for_http_1_0(proxy, back, path):
    back.on(path, lambda request: request.answer(request.body))
    interim = []
    with proxy.connect() as client:
        client.send(f"PUT {path} HTTP/1.0\r\n{HOST}Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
        assert client.response(interim=interim).body == b"hello" and interim == []


def test_a_body_that_is_not_wanted_is_refused_before_it_is_sent(make_outrigger, origin):
    outrigger = make_outrigger(origin=origin.url, site={"hosts": ["site.test"]}, config={"limits": {"body_bytes": "1KiB"}})
    for host, length, status in (("nowhere.test", 5, 404), ("site.test", 5000, 413)):
        with outrigger.connect() as client:
            client.send(f"PUT / HTTP/1.1\r\nHost: {host}\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n")
            response = client.head()
            assert (response.status, response.get("connection")) == (status, "close")
    assert origin.count() == 0


def test_an_origin_that_is_down_refuses_before_100_continue(make_outrigger):
    outrigger = make_outrigger(origin="http://127.0.0.1:1")
    with outrigger.connect() as client:
        client.send(f"PUT / HTTP/1.1\r\n{HOST}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        interim = []
        assert client.response(interim=interim).status == 502
        assert client.closed_by_peer(), "its body is not awaited"


def test_a_client_that_has_ended_sending_gets_its_answers(proxy, back, path):
    go = threading.Event()
    back.on(path, lambda request: (go.wait(30), request.answer("X" * 100000, fields={"Cache-Control": "max-age=60"}))).on(path + "/2", b"second")
    with proxy.connect() as client:
        client.send(f"GET {path} HTTP/1.1\r\n{HOST}\r\nGET {path}/2 HTTP/1.1\r\n{HOST}\r\n")
        client.end_sending()
        until(lambda: back.count(path), what="the origin to be asked")
        go.set()
        assert client.response().body == b"X" * 100000
        assert client.response().body == b"second"
        assert client.closed_by_peer()


def test_a_half_closed_hit_is_answered(proxy, back, path):
    back.on(path, b"page")
    proxy.get(path)
    with proxy.connect() as client:
        client.send(f"GET {path} HTTP/1.1\r\n{HOST}\r\n").end_sending()
        assert client.response().body == b"page"
        assert client.closed_by_peer()


def test_a_head_that_never_ends_is_forgotten_with_its_client(proxy, back, path):
    before = back.count()
    with proxy.connect() as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: si").end_sending()
        assert client.read_to_end()[:12] in (b"", b"HTTP/1.1 400")
    assert back.count() == before


@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_request_in_fragments_is_the_same_request(proxy, back, path, size):
    back.on(path, lambda request: request.answer(request.body or request.target, fields={"Cache-Control": "max-age=60", "X-Saw": request.get("x-long")}))
    raw = (f"GET {path} HTTP/1.1\r\n{HOST}X-Long: {'v' * 50}\r\n\r\n"
           f"POST {path} HTTP/1.1\r\n{HOST}X-Long: w\r\nTransfer-Encoding: chunked\r\n\r\n5;e=f\r\nhello\r\n0a\r\n0123456789\r\n0\r\nT: u\r\n\r\n"
           f"PUT {path} HTTP/1.1\r\n{HOST}X-Long: x\r\nContent-Length: 7\r\n\r\ncontent").encode()
    with proxy.connect() as client:
        for at in range(0, len(raw), size):
            client.send(raw[at : at + size])
        first = client.response()
        assert first.body == path.encode() and first.get("x-saw") == "v" * 50
        assert client.response().body == b"hello0123456789"
        assert client.response().body == b"content"


def test_a_response_in_fragments_is_the_same_response(proxy, back, path):
    def trickle(request):
        for byte in b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nX-Field: value\r\nTransfer-Encoding: chunked\r\n\r\n5;e=f\r\nhello\r\n06\r\n world\r\n0\r\nT: u\r\n\r\n":
            request.send(bytes([byte]))

    back.on(path, trickle)
    for _ in range(2):
        response = proxy.get(path)
        assert (response.body, response.get("x-field"), response.complete) == (b"hello world", "value", True)
    assert back.count(path) == 1


def test_an_upgrade_is_tunnelled_after_101_only(proxy, back, path):
    def switch(request):
        assert request.get("upgrade") == "echo" and request.get("connection").lower() == "upgrade"
        request.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\nwelcome")
        while data := request.connection.buffer or request.connection.socket.recv(65536):
            request.connection.buffer = b""
            request.send(data.upper())

    back.on(path, switch).on(path + "/no", no_store("no upgrade here"))
    upgrade = {"Connection": "Upgrade", "Upgrade": "echo"}
    with proxy.connect() as client:
        # Refused: the response is an ordinary one, and the connection goes on as HTTP.
        assert client.request(path + "/no", fields=upgrade).body == b"no upgrade here"
        client.send(f"GET {path} HTTP/1.1\r\n{HOST}Connection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        assert client.head().status == 101
        assert client.read_exactly(7) == b"welcome"
        for word in (b"hello", b"GET / HTTP/1.1\r\n\r\n", b"x" * 300000):
            client.send(word)
            assert client.read_exactly(len(word)) == word.upper()


def test_nothing_is_tunnelled_before_the_101(proxy, back, path):
    """What the client sends ahead waits here."""
    ahead = []

    def switch(request):
        with contextlib.suppress(BlockingIOError):
            ahead.append(request.connection.buffer + request.connection.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        request.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n")
        request.send(request.connection.read_exactly(5).upper())
        raise Truncated

    back.on(path, switch)
    with proxy.connect() as client:
        client.send(f"GET {path} HTTP/1.1\r\n{HOST}Connection: Upgrade\r\nUpgrade: echo\r\n\r\nahead")
        assert client.head().status == 101
        assert client.read_exactly(5) == b"AHEAD"
    assert ahead == []


def test_curl_sees_a_kept_connection(proxy, back, path):
    back.on(path, b"for curl")
    done = subprocess.run(["curl", "-sS", "-w", "%{num_connects} %{http_code}\n"] + [f"http://127.0.0.1:{proxy.port}{path}", "-o", "-"] * 3,
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "for curl1 200\nfor curl0 200\nfor curl0 200\n"


def test_curl_sends_an_upload_with_its_expectation(proxy, back, path, tmp_path):
    upload = tmp_path / "upload"
    upload.write_bytes(bytes(range(256)) * 8192)
    back.on(path, lambda request: request.answer(str(sum(request.body)), fields={"X-Length": str(len(request.body))}))
    for options in (["-T", str(upload)], ["-T", str(upload), "-H", "Transfer-Encoding: chunked"], ["-T", str(upload), "--http1.0"]):
        done = subprocess.run(["curl", "-sS", "-i", *options, f"http://127.0.0.1:{proxy.port}{path}"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith(str(127.5 * 2097152).removesuffix(".0")) and "X-Length: 2097152" in done.stdout


def test_a_reused_connection_carries_no_state_over(proxy, back, path):
    """Fields, method and body of one request leave no trace in the next."""
    back.on(path, lambda request: request.answer(";".join(sorted(request.names() - {"via", "cdn-loop", "host", "user-agent"})), fields={"Cache-Control": "no-store"}))
    with Connection(proxy.port) as client:
        plain = client.request(path).body
        loaded = client.request(path, method="POST", fields={"X-A": "1", "Cookie": "c", "Authorization": "Basic x"}, body=b"body").body
        assert b"x-a" in loaded and b"cookie" in loaded
        assert client.request(path).body == plain
