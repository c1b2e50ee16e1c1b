"""HARDENING "Routing and fields": which site answers, what reaches the origin, and what does not."""
import json
import re
import subprocess

import pytest

from harness.nginx import Nginx

HOST = "Host: site.test\r\n"
OWN = "127.0.0.1"


def echo(request):
    """The fields as the origin saw them, in the body."""
    request.answer(json.dumps(request.fields), fields={"Cache-Control": "no-store"})


def seen(response):
    assert response.status == 200, response
    return [(n.lower(), v) for n, v in json.loads(response.body)]


def value(fields, name):
    return ", ".join(v for n, v in fields if n == name) or None


def test_fields_of_the_client_reach_the_origin_as_they_came(proxy, back, path):
    back.on(path, echo)
    fields = seen(proxy.get(path, fields=[("X-One", "a"), ("X-Two", "b, c"), ("X-One", "d"), ("Cookie", "k=v; l=w"), ("Accept", "*/*;q=0.1"), ("X-Empty", ""),
                                          ("X-Bytes", "\xe9\xff"), ("Authorization", "Basic xyz")]))
    assert [(n, v) for n, v in fields if n in ("x-one", "x-two", "cookie", "accept", "x-empty", "x-bytes", "authorization")] == [
        ("x-one", "a"), ("x-two", "b, c"), ("x-one", "d"), ("cookie", "k=v; l=w"), ("accept", "*/*;q=0.1"), ("x-empty", ""), ("x-bytes", "\xe9\xff"),
        ("authorization", "Basic xyz")]
    assert value(fields, "host") == "site.test"


def test_fields_of_the_origin_reach_the_client_as_they_came(proxy, back, path):
    sent = [("X-One", "a"), ("Set-Cookie", "a=b"), ("Set-Cookie", "c=d"), ("X-Bytes", "\xe9\xff"), ("Server", "origin"), ("Cache-Status", "inner; hit"), ("X-Empty", "")]
    back.on(path, lambda request: request.answer("page", fields=sent))
    response = proxy.get(path)
    got = [(n, v) for n, v in response.fields if n in ("X-One", "Set-Cookie", "X-Bytes", "Server", "X-Empty")]
    assert got == [pair for pair in sent if pair[0] != "Cache-Status"]
    assert response.get("cache-status").startswith("inner; hit, outrigger; fwd=")


HOP_BY_HOP = ["Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "Proxy-Authorization: Basic x", "TE: trailers", "Trailer: X", "Upgrade: x", "Upgrade: h2c", "HTTP2-Settings: AAA"]


def test_hop_by_hop_fields_of_a_request_stay_here(proxy, back, path):
    back.on(path, echo)
    fields = seen(proxy.get(path, fields=[line.split(": ") for line in HOP_BY_HOP] + [("Connection", "x-named, Keep-Alive,X-Other"), ("Connection", "x-third"),
                                                                                       ("X-Named", "1"), ("X-Other", "2"), ("X-Third", "3"), ("X-Stays", "4")]))
    names = {n for n, _ in fields}
    assert not names & {line.split(":")[0].lower() for line in HOP_BY_HOP} | names & {"connection", "x-named", "x-other", "x-third"}
    assert value(fields, "x-stays") == "4"


def test_hop_by_hop_fields_of_a_response_stay_here(proxy, back, path):
    back.on(path, lambda request: request.answer("page", fields=[("Cache-Control", "max-age=60"), ("Connection", "X-Named"), ("X-Named", "1"), ("Keep-Alive", "timeout=5"),
                                                                 ("Proxy-Connection", "x"), ("Proxy-Authenticate", "Basic"), ("Trailer", "X"), ("Upgrade", "x"), ("X-Stays", "4")]))
    for _ in range(2):
        response = proxy.get(path)
        names = {n.lower() for n, _ in response.fields}
        assert not names & {"x-named", "keep-alive", "proxy-connection", "proxy-authenticate", "trailer", "upgrade", "connection"}
        assert response.get("x-stays") == "4"
    assert back.count(path) == 1


@pytest.mark.parametrize("name, sent", [("Host", "site.test"), ("Cookie", "k=v"), ("Authorization", "Basic x"), ("X-Forwarded-For", None), ("X-Forwarded-Proto", None),
                                        ("X-Forwarded-Host", None), ("X-Real-IP", None), ("Content-Length", "5"), ("Via", None), ("Cdn-Loop", None)])
def test_connection_cannot_strip_what_the_origin_relies_on(proxy, back, path, name, sent):
    back.on(path, echo)
    extra = [(name, sent)] if name in ("Cookie", "Authorization") else []
    fields = seen(proxy.get(path, method="POST", body=b"hello", fields=[("Connection", name)] + extra))
    got = value(fields, name.lower())
    assert got is not None and (sent is None or got == sent)


def test_forwarding_fields_are_ours_alone(proxy, back, path):
    back.on(path, echo)
    fields = seen(proxy.get(path, fields={"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.test", "Forwarded": "for=1.2.3.4"}))
    assert value(fields, "x-forwarded-for") == OWN
    assert value(fields, "x-forwarded-proto") == "http"
    assert value(fields, "x-forwarded-host") == "site.test"
    assert value(fields, "forwarded") in (None, "for=127.0.0.1")


@pytest.mark.parametrize("name", ["X-Forwarded-Port", "x-forwarded-scheme", "X-Forwarded-Prefix", "X-FORWARDED-SERVER"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_relatives_of_forwarding_fields_are_nobodys(proxy, back, path, name, method):
    back.on(path, echo)
    assert value(seen(proxy.get(path, method=method, fields={name: "evil"})), name.lower()) is None


OVERRIDES = ["X-HTTP-Method-Override", "x-http-method", "X-Method-Override", "X-Original-URL", "X-Rewrite-URL",
             "X_HTTP_Method_Override", "x-http_method", "X_Original-URL"]  # in a CGI's environment they are the same


@pytest.mark.parametrize("name", OVERRIDES)
def test_what_overrides_method_or_url_poisons_nothing(proxy, back, path, name):
    """What the key does not know of cannot change what is stored (HARDENING, cache)."""
    back.on(path, lambda request: request.answer("poison" if request.get(name) else "page", fields={"Cache-Control": "max-age=60"}))
    assert proxy.get(path, fields={name: "DELETE"}).body == b"page"
    assert proxy.get(path).body == b"page" and back.count(path) == 1
    assert proxy.get(path, method="POST", body=b"x", fields={name: "PUT"}).body == b"poison", "what is never stored may have it"


def test_a_proxy_field_does_not_reach_the_origin(proxy, back, path):
    """It would become HTTP_PROXY in the environment of a CGI program."""
    back.on(path, echo)
    assert value(seen(proxy.get(path, fields={"Proxy": "http://evil.test"})), "proxy") is None


def test_via_is_added_both_ways(proxy, back, path):
    back.on(path, lambda request: request.answer(request.get("via"), fields={"Via": "1.1 inner", "Cache-Control": "max-age=60"}))
    for version in ("1.1", "1.0"):
        back.on(path + version, lambda request: request.answer(request.get("via"), fields={"Via": "1.1 inner", "Cache-Control": "max-age=60"}))
        response = proxy.get(path + version, version=version, fields={"Via": "1.1 outer"})
        assert re.fullmatch(rf"1\.1 outer, {version} outrigger-\w+", response.body.decode())
        assert re.fullmatch(r"1\.1 inner, 1\.1 outrigger-\w+", response.get("via"))
        assert re.fullmatch(r"1\.1 inner, 1\.1 outrigger-\w+", proxy.get(path + version).get("via"))


@pytest.mark.parametrize("lines", ["", "Host:\r\n", "Host: \r\n", "Host: a\r\nHost: a\r\n", "Host: a\r\nHost: b\r\n", "Host: a, b\r\n", "Host: a b\r\n", "Host: a/b\r\n", "Host: user@a\r\n",
                                   "Host: a?b\r\n", "Host: a#b\r\n", "Host: a:b\r\n", "Host: a:99999\r\n", "Host: a:-1\r\n", "Host: :80\r\n", "Host: a:80:80\r\n", "Host: [::1\r\n",
                                   "Host: [zz]\r\n", "Host: a\\b\r\n", "Host: <a>\r\n", "Host: \x22a\x22\r\n", "Host: " + "a" * 300 + "\r\n", "Host: a\xe9\r\n"])
def test_an_invalid_host_is_400(proxy, back, path, lines):
    back.on(path, b"page")
    with proxy.connect() as client:
        data = client.send(f"GET {path} HTTP/1.1\r\n{lines}\r\n").read_to_end()
    assert data.startswith(b"HTTP/1.1 400 ") and data.count(b"HTTP/1.1 ") == 1, data
    assert back.count(path) == 0


@pytest.mark.parametrize("host", ["a", "a.test:8080", "127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:8080", "x_y.test", "xn--bcher-kva.test", "a-b.c"])
def test_a_valid_host_is_passed_as_it_came(proxy, back, path, host):
    back.on(path, echo)
    assert value(seen(proxy.get(path, host=host)), "host") == host


@pytest.mark.parametrize("host", ["a.test:80", "A.Test", "a.test.", "A.TEST.:80", "a.test:"])
def test_a_host_is_passed_as_the_key_spells_it(proxy, back, path, host):
    """HARDENING, cache: what shares a stored response with others must not show in it. A redirect to https://a.test:80/ would lock them out."""
    back.on(path, lambda request: request.answer(status="302 Found", fields={"Location": f"https://{request.get('host')}/{request.get('x-forwarded-host')}",
                                                                             "Cache-Control": "max-age=60"}))
    assert proxy.get(path, host=host).get("location") == "https://a.test/a.test"
    assert proxy.get(path, host="a.test").get("location") == "https://a.test/a.test" and back.count(path) == 1


@pytest.mark.parametrize("target", ["http:///x", "http://", "http://a b/x", "http://user@a/x", "http://user:pass@a/x", "http://a:b/x", "ftp://a/x", "//a/x/../..", "https//a/x", "http:/x", "http://a,b/"])
def test_an_invalid_absolute_target_is_refused(proxy, back, target):
    before = back.count()
    with proxy.connect() as client:
        data = client.send(f"GET {target} HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n").read_to_end()
    if target.startswith("//"):
        assert data[:12] in (b"HTTP/1.1 404", b"HTTP/1.1 400"), "a path that begins with two slashes"
    else:
        assert data[:12] == b"HTTP/1.1 400", data
        assert back.count() == before


def test_the_origin_never_comes_from_the_request(proxy, back, make_origin, path):
    """No Host and no absolute target makes us connect anywhere else."""
    elsewhere = make_origin()
    back.on(path, b"ours")
    for options in ({"host": f"127.0.0.1:{elsewhere.port}"}, {"target": f"http://127.0.0.1:{elsewhere.port}{path}"}):
        assert proxy.get(options.pop("target", path), **options).body == b"ours"
    assert elsewhere.connections == 0


def test_an_unknown_site_is_404(make_outrigger, origin):
    origin.on("*", b"page")
    outrigger = make_outrigger(origin=origin.url, site={"hosts": ["site.test"]})
    with outrigger.connect() as client:
        assert client.request("/", host="site.test").status == 200
        response = client.request("/", host="nowhere.test")
        assert response.status == 404 and b"no site has this host name" in response.body
        assert client.request("http://nowhere.test/", host="site.test").status == 404
        assert client.request("/", host="site.test").status == 200
    assert origin.count() == 1


def test_the_most_specific_site_answers(make_outrigger, make_origin):
    names = {"exact": ["www.a.test", "a.test"], "deep": ["*.deep.a.test"], "wide": ["*.a.test"], "any": ["*"]}
    origins = {name: make_origin().on("*", name.encode()) for name in names}
    outrigger = make_outrigger(config={"sites": [{"hosts": hosts, "origin": origins[name].url} for name, hosts in names.items()]})
    for host, name in [("www.a.test", "exact"), ("WWW.A.TEST", "exact"), ("www.a.test:8080", "exact"), ("www.a.test.", "exact"), ("a.test", "exact"), ("x.a.test", "wide"),
                       ("x.y.a.test", "wide"), ("deep.a.test", "wide"), ("x.deep.a.test", "deep"), ("x.y.DEEP.a.test:1", "deep"), ("xa.test", "any"), ("b.test", "any"),
                       ("[::1]:80", "any"), ("127.0.0.1", "any")]:
        assert outrigger.get("/", host=host).body == name.encode(), host


def test_sites_do_not_share_what_is_stored(make_outrigger, make_origin):
    one, two = make_origin().on("/page", b"one"), make_origin().on("/page", b"two")
    outrigger = make_outrigger(config={"sites": [{"hosts": ["one.test"], "origin": one.url}, {"hosts": ["two.test"], "origin": two.url}]})
    for _ in range(2):
        assert outrigger.get("/page", host="one.test").body == b"one"
        assert outrigger.get("/page", host="two.test").body == b"two"
    assert one.count() == two.count() == 1


def test_spellings_of_one_host_share_what_is_stored(proxy, back, path):
    back.on(path, b"page")
    for host in ("spelling.test", "SPELLING.test", "spelling.test:80", "spelling.test."):
        assert proxy.get(path, host=host).body == b"page"
    assert back.count(path) == 1
    proxy.get(path, host="spelling.test:8080")
    assert back.count(path) == 2, "another port is another site"


def test_host_header_overrides_what_the_origin_sees_but_not_the_key(make_outrigger, origin):
    origin.on("/page", lambda request: request.answer(request.get("host") + " " + request.get("x-forwarded-host"), fields={"Cache-Control": "max-age=60"}))
    outrigger = make_outrigger(origin=origin.url, site={"host_header": "inside.test"})
    assert outrigger.get("/page", host="a.test").body == b"inside.test a.test"
    assert outrigger.get("/page", host="b.test").body == b"inside.test b.test"


@pytest.mark.parametrize("target", ["site.test:80", "/", "http://site.test/"])
def test_connect_is_405(proxy, back, target):
    before = back.count()
    with proxy.connect() as client:
        response = client.send(f"CONNECT {target} HTTP/1.1\r\n{HOST}\r\n").response()
    assert (response.status == 405 and "GET" in response.get("allow")) or (target != "site.test:80" and response.status == 400)
    assert back.count() == before


def test_a_loop_is_508(make_outrigger, origin):
    """The accelerator is its own origin; and two of them are each other's."""
    from harness.ports import free_port

    port = free_port()
    itself = make_outrigger(origin=f"http://127.0.0.1:{port}", config={"listen": [{"address": f"127.0.0.1:{port}"}]})
    itself.port = port
    response = itself.get("/")
    assert response.status == 508, response
    first = free_port()
    second = make_outrigger(origin=f"http://127.0.0.1:{first}")
    third = make_outrigger(origin=f"http://127.0.0.1:{second.port}", config={"listen": [{"address": f"127.0.0.1:{first}"}]})
    third.port = first
    assert third.get("/").status == 508 and second.get("/").status == 508
    assert third.get("/again", method="POST", body=b"x").status == 508


@pytest.mark.parametrize("field", ["Via", "CDN-Loop"])
def test_our_own_name_in_the_request_is_a_loop(proxy, back, path, field):
    back.on(path, echo)
    fields = seen(proxy.get(path))
    name = value(fields, "cdn-loop")
    assert re.fullmatch(r"outrigger-\w+", name)
    sent = {"Via": f"1.1 other, 1.1 {name}", "CDN-Loop": f"other, {name}; v=1"}[field]
    before = back.count(path)
    assert proxy.get(path, fields={field: sent}).status == 508
    assert proxy.get(path, fields={field: "1.1 other" if field == "Via" else "other"}).status == 200
    assert back.count(path) == before + 1


def test_control_bytes_are_escaped_in_the_log(make_outrigger, origin):
    origin.on("/page", b"page")
    outrigger = make_outrigger(origin=origin.url)
    outrigger.get("/page", fields={"User-Agent": 'a\tb"c\\d\x9b31m', "Referer": '" 200 999 "'})
    with outrigger.connect() as client:
        client.send(b"GET /\x1b[31m\x07 HTTP/1.1\r\nHost: evil\x1b.test\r\nUser-Agent: x\ry\r\n\r\n").read_to_end()
    text = "\n".join(outrigger.await_access_lines(2)) + outrigger.errors()
    raw = outrigger.access_log.read_bytes() + outrigger.error_log.read_bytes()
    assert all(byte >= 32 and byte != 127 or byte == 10 for byte in raw), raw
    assert b"\x9b" not in raw
    line = next(line for line in outrigger.access_lines() if "/page" in line)
    assert r"\x09" in line or r"\t" in line
    assert '"c' not in line.replace('\\"c', "").replace(r"\x22c", "") and " MISS " in line, text


def test_purge_is_for_allowed_addresses_only(make_outrigger, origin):
    origin.on("/page", b"page")
    refusing = make_outrigger(origin=origin.url, site={"purge": {"allow": []}})
    elsewhere = make_outrigger(origin=origin.url, site={"purge": {"allow": ["10.0.0.0/8", "::1"]}})
    allowing = make_outrigger(origin=origin.url, site={"purge": {"allow": ["127.0.0.1"]}})
    default = make_outrigger(origin=origin.url)
    for outrigger, allowed in ((refusing, False), (elsewhere, False), (allowing, True), (default, True)):
        assert outrigger.get("/page").body == b"page"
        before = origin.count("/page")
        response = outrigger.get("/page", method="PURGE", fields={"X-Forwarded-For": "127.0.0.1"})
        assert response.status == (200 if allowed else 403)
        assert outrigger.get("/page").body == b"page"
        assert origin.count("/page") == before + allowed
    assert {r.method for r in origin.requests} == {"GET"}


def test_paths_and_queries_reach_the_origin_byte_for_byte(proxy, back):
    back.on("*", lambda request: request.answer(request.target, fields={"Cache-Control": "max-age=60"}))
    try:
        targets = ["/a;b", "/a%2fb", "/a%2Fb", "/a%00", "/a/../b", "/a/./b", "//a", "/a//b", "/a?", "/a", "/a?b=c&d=%20", "/a?b?c", "/%c3%a9", "/a+b", "/a|b", "/~a", "/a?\"x\"", "/a[1]"]
        for target in targets * 2:
            response = proxy.get(target, host="paths.test")
            assert (response.status, response.body) == (200, target.encode()), target
        seen_targets = [r.target for r in back.requests if r.get("host") == "paths.test"]
        assert sorted(seen_targets) == sorted(targets), "each spelling is a key of its own"
    finally:
        del back.handlers["*"]


def test_in_front_of_nginx(make_outrigger, tmp_path):
    """A real origin: validators, ranges, errors, redirects, a large file; and curl as the client."""
    root = tmp_path / "www"
    (root / "dir").mkdir(parents=True)
    (root / "page.html").write_bytes(b"<p>page</p>" * 100)
    (root / "big.bin").write_bytes(bytes(range(256)) * 20000)
    nginx = Nginx(tmp_path, root, 'location /cached { alias %s; add_header Cache-Control max-age=60; } location /echo { return 200 "$request_method $http_host"; }' % root)
    try:
        outrigger = make_outrigger(origin=nginx.url)
        base = f"http://127.0.0.1:{outrigger.port}"

        def curl(*arguments):
            done = subprocess.run(["curl", "-sS", "-i", "-H", "Host: site.test", *arguments], capture_output=True, timeout=60)
            assert done.returncode == 0, done.stderr
            head, _, body = done.stdout.partition(b"\r\n\r\n")
            return head.decode(), body

        for _ in range(2):
            head, body = curl(base + "/cached/page.html")
            assert head.startswith("HTTP/1.1 200") and body == b"<p>page</p>" * 100
        etag = re.search(r"ETag: (\S+)", head)[1]
        assert curl("-H", f"If-None-Match: {etag}", base + "/cached/page.html")[0].startswith("HTTP/1.1 304")
        head, body = curl("-r", "3-6", base + "/cached/page.html")
        assert head.startswith("HTTP/1.1 206") and body == b"page" and "Content-Range: bytes 3-6/1100" in head
        for _ in range(2):
            assert curl(base + "/cached/big.bin")[1] == bytes(range(256)) * 20000
        assert len([line for line in nginx.requests() if "/cached/big.bin" in line]) == 1
        assert len([line for line in nginx.requests() if "/cached/page.html" in line]) == 1
        assert curl(base + "/missing")[0].startswith("HTTP/1.1 404")
        head, _ = curl(base + "/dir")
        assert head.startswith("HTTP/1.1 301") and "/dir/" in head
        assert curl("-X", "POST", "-d", "x=y", base + "/echo")[1] == b"POST site.test"
        head, _ = curl("-I", base + "/cached/page.html")
        assert "Content-Length: 1100" in head
    finally:
        nginx.stop()
