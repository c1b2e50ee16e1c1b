"""trusted_proxies: what a proxy in front says of a request is believed, and what a client says through it is not."""
import json
import socket

import pytest

from harness.http import Connection
from harness.poll import until

TRUSTED = ["127.0.0.1", "10.0.0.0/8", "2001:db8:1::/48"]


def echo(request):
    request.answer(json.dumps(request.fields), fields={"Cache-Control": "no-store"})


def seen(response):
    assert response.status == 200, response
    fields = [(n.lower(), v) for n, v in json.loads(response.body)]
    return {n: ", ".join(v for m, v in fields if m == n) for n, _ in fields}


@pytest.fixture(scope="module")
def edge(make_module_outrigger, back):
    return make_module_outrigger(origin=back.url, config={"trusted_proxies": TRUSTED}, site={"cache": {"show_key": ["192.0.2.1"]}})


def from_elsewhere(port, address="127.0.0.2"):
    """A client on this machine that is none of the trusted proxies."""
    connection = Connection(port)
    connection.socket.close()
    connection.socket = socket.create_connection(("127.0.0.1", port), source_address=(address, 0), timeout=15)
    return connection


WAYS = {
    # what came in X-Forwarded-For: the client; the list goes on with the peer behind it
    "192.0.2.1": "192.0.2.1",
    "203.0.113.9, 192.0.2.1": "192.0.2.1",
    "127.0.0.1, 192.0.2.1": "192.0.2.1",
    "192.0.2.1, 10.1.2.3": "192.0.2.1",
    "203.0.113.9,192.0.2.1 ,\t10.1.2.3,10.9.9.9": "192.0.2.1",
    "192.0.2.1,, ,10.1.2.3,": "192.0.2.1",
    "10.1.1.1, 10.2.2.2": "10.1.1.1",
    "192.0.2.1:4711, [2001:db8:1::5]:80": "192.0.2.1",
    "2001:db8:2::1, 2001:db8:1::5": "2001:db8:2::1",
    "[2001:db8:2::1]": "2001:db8:2::1",
    "::ffff:192.0.2.1, ::ffff:10.1.2.3": "192.0.2.1",
    '"quoted, 192.0.2.1': "192.0.2.1",
    '"10.1.2.3, 192.0.2.1"': "127.0.0.1",
    "unknown": "127.0.0.1",
    "192.0.2.1, unknown": "127.0.0.1",
    "192.0.2.1, unknown, 10.1.2.3": "10.1.2.3",
    "192.0.2.1.evil.test": "127.0.0.1",
    "": "127.0.0.1",
    ",": "127.0.0.1",
}


@pytest.mark.parametrize("sent", WAYS)
def test_the_client_is_the_last_address_that_is_not_trusted(edge, back, path, sent):
    back.on(path, echo)
    fields = seen(edge.get(path, fields={"X-Forwarded-For": sent}))
    assert fields["x-real-ip"] == WAYS[sent]
    assert fields["x-forwarded-for"] == (f"{sent}, 127.0.0.1" if sent else "127.0.0.1")


def test_several_lines_are_one_list(edge, back, path):
    back.on(path, echo)
    fields = seen(edge.get(path, fields=[("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-For", "10.1.2.3")]))
    assert fields["x-real-ip"] == "192.0.2.1"
    assert fields["x-forwarded-for"] == "203.0.113.9, 192.0.2.1, 10.1.2.3, 127.0.0.1"


def test_many_hops_end_somewhere(edge, back, path):
    back.on(path, echo)
    assert seen(edge.get(path, fields={"X-Forwarded-For": "192.0.2.1, " + ", ".join(["10.1.2.3"] * 500)}))["x-real-ip"] == "10.1.2.3"


FORGED = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.test", "X-Real-IP": "192.0.2.1",
          "Forwarded": "for=192.0.2.1;host=evil.test;proto=https", "X-Forwarded-Port": "1", "X_Forwarded_For": "192.0.2.1", "X_Real_IP": "192.0.2.1",
          "X-Forwarded_Host": "evil.test"}


def test_from_anybody_else_it_is_all_replaced(edge, back, path):
    back.on(path, echo)
    with from_elsewhere(edge.port) as client:
        fields = seen(client.request(path, fields=FORGED))
    assert fields["x-forwarded-for"] == fields["x-real-ip"] == "127.0.0.2"
    assert fields["x-forwarded-proto"] == "http" and fields["x-forwarded-host"] == fields["host"] == "site.test"
    assert not {"forwarded", "x-forwarded-port", "x_forwarded_for", "x_real_ip", "x-forwarded_host"} & set(fields)


def test_without_the_setting_nobody_is_trusted(proxy, back, path):
    back.on(path, echo)
    fields = seen(proxy.get(path, fields=FORGED))
    assert fields["x-forwarded-for"] == fields["x-real-ip"] == "127.0.0.1"
    assert fields["x-forwarded-proto"] == "http" and fields["x-forwarded-host"] == fields["host"] == "site.test"
    assert not {"forwarded", "x-forwarded-port", "x_forwarded_for", "x_real_ip", "x-forwarded_host"} & set(fields)


@pytest.mark.parametrize("sent, scheme", [("https", "https"), ("http", "http"), ("HTTPS", "https"), ("http, https", "https"), ("https,http", "http"),
                                          ("ftp", "http"), ("", "http"), ("https evil", "http")])
def test_the_scheme_is_what_the_proxy_says(edge, back, path, sent, scheme):
    back.on(path, echo)
    assert seen(edge.get(path, fields={"X-Forwarded-Proto": sent}))["x-forwarded-proto"] == scheme


@pytest.mark.parametrize("sent, host", [("www.example.com", "www.example.com"), ("www.example.com:8443", "www.example.com:8443"), ("evil.test, www.example.com", "www.example.com"),
                                        ("www.example.com/", "site.test"), ("a b", "site.test"), ("", "site.test"), ("user@www.example.com", "site.test"), ("\xe9.test", "site.test")])
def test_the_host_is_what_the_proxy_says(edge, back, path, sent, host):
    back.on(path, echo)
    fields = seen(edge.get(path, fields={"X-Forwarded-Host": sent}))
    assert fields["x-forwarded-host"] == fields["host"] == host


def test_responses_are_kept_apart_by_scheme_and_host(edge, back, path):
    """Poisoning: what the origin makes links of is in the key."""
    back.on(path, lambda request: request.answer(f"{request.get('x-forwarded-proto')}://{request.get('x-forwarded-host')}", fields={"Cache-Control": "max-age=60"}))
    for _ in range(2):
        for scheme in "http", "https":
            for host in "one.test", "two.test":
                assert edge.get(path, fields={"X-Forwarded-Proto": scheme, "X-Forwarded-Host": host}).body.decode() == f"{scheme}://{host}"
    assert back.count(path) == 4


RFC7239 = {
    # what came in Forwarded: client, scheme and host that follow; and what goes on
    "for=192.0.2.1;proto=https;host=www.example.com": ("192.0.2.1", "https", "www.example.com", 'for=192.0.2.1, for=127.0.0.1;host="www.example.com";proto=https'),
    'For="[2001:db8:2::1]:4711"; Proto=HTTPS': ("2001:db8:2::1", "https", "site.test", 'for="[2001:db8:2::1]", for=127.0.0.1;host="site.test";proto=https'),
    "for=203.0.113.9;host=evil.test, for=192.0.2.1, for=10.1.2.3;proto=https": ("192.0.2.1", "https", "site.test",
                                                                             'for=192.0.2.1, for=10.1.2.3, for=127.0.0.1;host="site.test";proto=https'),
    'for="x;host="evil.test, for=192.0.2.1': ("192.0.2.1", "http", "site.test", 'for=192.0.2.1, for=127.0.0.1;host="site.test";proto=http'),
    "for=unknown": ("127.0.0.1", "http", "site.test", 'for=127.0.0.1;host="site.test";proto=http'),
    "for=_secret;by=10.1.2.3": ("127.0.0.1", "http", "site.test", 'for=127.0.0.1;host="site.test";proto=http'),
    "=;;for;for=192.0.2.1": ("192.0.2.1", "http", "site.test", 'for=192.0.2.1, for=127.0.0.1;host="site.test";proto=http'),
}


@pytest.mark.parametrize("sent", RFC7239)
def test_a_proxy_that_speaks_by_forwarded_alone(edge, back, path, sent):
    back.on(path, echo)
    fields = seen(edge.get(path, fields={"Forwarded": sent}))
    assert (fields["x-real-ip"], fields["x-forwarded-proto"], fields["host"], fields["forwarded"]) == RFC7239[sent]


def test_forwarded_does_not_overrule_the_fields_that_decide(edge, back, path):
    back.on(path, echo)
    fields = seen(edge.get(path, fields={"Forwarded": "for=203.0.113.9;host=evil.test;proto=https", "X-Forwarded-For": "192.0.2.1",
                                         "X-Forwarded-Proto": "http", "X-Forwarded-Host": "www.example.com"}))
    assert (fields["x-real-ip"], fields["x-forwarded-proto"], fields["host"]) == ("192.0.2.1", "http", "www.example.com")
    assert "evil" not in fields["forwarded"] and "203.0.113.9" not in fields["forwarded"]


def test_a_proxy_that_speaks_by_x_real_ip_alone(edge, back, path):
    back.on(path, echo)
    fields = seen(edge.get(path, fields={"X-Real-IP": "192.0.2.1"}))
    assert fields["x-real-ip"] == "192.0.2.1" and fields["x-forwarded-for"] == "192.0.2.1, 127.0.0.1"
    assert seen(edge.get(path, fields={"X-Real-IP": "203.0.113.9", "X-Forwarded-For": "192.0.2.1"}))["x-real-ip"] == "192.0.2.1"


def test_the_cache_key_is_told_to_the_client_and_not_to_its_proxy(edge, back, path):
    back.on(path, b"page")
    assert "key=" in edge.get(path, fields={"X-Forwarded-For": "192.0.2.1"}).get("cache-status")
    assert "key=" not in edge.get(path, fields={"X-Forwarded-For": "192.0.2.2"}).get("cache-status")
    assert "key=" not in edge.get(path, fields={"X-Forwarded-For": "192.0.2.1, 203.0.113.9"}).get("cache-status")


def test_purge_is_for_the_client_and_not_for_its_proxy(make_outrigger, origin):
    origin.on("/page", b"page")
    outrigger = make_outrigger(origin=origin.url, config={"trusted_proxies": ["127.0.0.1"]}, site={"purge": ["192.0.2.1", "127.0.0.1"]})

    def purge(said):
        return outrigger.get("/page", method="PURGE", fields={"X-Forwarded-For": said}).status

    assert [purge("192.0.2.1"), purge("203.0.113.9"), purge("192.0.2.1, 203.0.113.9"), purge("127.0.0.1, 203.0.113.9")] == [200, 403, 403, 403]
    with from_elsewhere(outrigger.port) as client:
        assert client.request("/page", method="PURGE", fields={"X-Forwarded-For": "192.0.2.1"}).status == 403
    lines = outrigger.await_access_lines(5)
    assert sorted(line.split()[0] for line in lines) == ["127.0.0.2", "192.0.2.1", "203.0.113.9", "203.0.113.9", "203.0.113.9"]


def test_a_client_whom_a_proxy_header_names_is_not_trusted(make_outrigger, origin):
    """The peer is then the client, whatever it says of itself."""
    origin.on("/", echo)
    outrigger = make_outrigger(origin=origin.url, config={"trusted_proxies": ["127.0.0.1", "10.0.0.0/8"]})
    outrigger.config["listen"][0]["proxy_protocol"] = True
    outrigger.stop()
    outrigger.start()
    for client, expected in ("192.0.2.7", "192.0.2.7"), ("10.1.2.3", "203.0.113.9"):
        with outrigger.connect() as connection:
            connection.send(f"PROXY TCP4 {client} 10.0.0.1 4711 80\r\n")
            fields = seen(connection.request("/", fields={"X-Forwarded-For": "203.0.113.9"}))
        assert fields["x-real-ip"] == expected, client
        assert fields["x-forwarded-for"] == (client if client == expected else f"{expected}, {client}")


def test_a_reload_changes_who_is_trusted(make_outrigger, origin):
    origin.on("/", echo)
    outrigger = make_outrigger(origin=origin.url)
    said = {"X-Forwarded-For": "192.0.2.1"}
    assert seen(outrigger.get("/", fields=said))["x-real-ip"] == "127.0.0.1"
    outrigger.config["trusted_proxies"] = ["127.0.0.0/8"]
    outrigger.write_config()
    outrigger.reload()
    until(lambda: seen(outrigger.get("/", fields=said))["x-real-ip"] == "192.0.2.1", what="the new configuration to serve")
