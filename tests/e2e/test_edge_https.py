"""What a site does about https: the redirect from http, Strict-Transport-Security, and challenges of certificate authorities, which stay on http."""
import os
import subprocess

import pytest

from harness.outrigger import BINARY
from harness.poll import until

# Behind a proxy that terminates TLS, as far as these are concerned.
SECURE = {"X-Forwarded-Proto": "https"}
CHALLENGE = "/.well-known/acme-challenge/"


@pytest.fixture(scope="module")
def site(make_module_outrigger, back):
    """One accelerator for each set of site options."""
    made = {}

    def make(**options):
        key = repr(sorted(options.items()))
        if key not in made:
            made[key] = make_module_outrigger(origin=back.url, config={"trusted_proxies": ["127.0.0.1"]}, site=options)
        return made[key]

    return make


LOCATIONS = {
    # target, Host: Location
    ("/", "site.test"): "https://site.test/",
    ("/a/b?c=d&e=f/g?h", "site.test"): "https://site.test/a/b?c=d&e=f/g?h",
    ("/a?", "site.test"): "https://site.test/a?",
    ("/a%20b/%2e%2e/%c3%a9;p=1", "site.test"): "https://site.test/a%20b/%2e%2e/%c3%a9;p=1",
    ("//evil.test/a", "site.test"): "https://site.test//evil.test/a",
    ("/", "site.test:8080"): "https://site.test/",
    ("/", "Site.Test."): "https://Site.Test./",
    ("/", "[2001:db8::1]"): "https://[2001:db8::1]/",
    ("/", "[2001:db8::1]:8080"): "https://[2001:db8::1]/",
    ("http://other.test:81/a?b", "site.test"): "https://other.test/a?b",
}


@pytest.mark.parametrize("target, host", LOCATIONS)
def test_the_redirect_keeps_path_and_query(site, back, target, host):
    requests = back.count()
    response = site(https_redirect=True).get(target, host=host)
    assert response.status == 308 and response.get("location") == LOCATIONS[target, host]
    assert response.get("strict-transport-security") is None and back.count() == requests


@pytest.mark.parametrize("setting, status", [(True, 308), (308, 308), (301, 301)])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS"])
def test_the_status_and_the_methods_that_are_redirected(site, setting, status, method):
    with site(https_redirect=setting).connect() as connection:
        response = connection.request("/a", method=method, body=b"hello" if method == "POST" else None)
        assert response.status == status and response.get("location") == "https://site.test/a"


def test_options_of_the_whole_server_and_no_host_at_all(site):
    outrigger = site(https_redirect=True)
    assert outrigger.get("*", method="OPTIONS").get("location") == "https://site.test/"
    assert outrigger.get("/", host=None, version="1.0").status == 400


def test_what_came_by_https_is_not_redirected(site, back, path):
    back.on(path, b"page")
    assert site(https_redirect=True).get(path, fields=SECURE).body == b"page"


def test_without_the_setting_nothing_is_redirected(site, back, path):
    back.on(path, b"page")
    assert site(https_redirect=False).get(path).body == b"page"


def test_a_client_cannot_say_that_it_is_secure(make_outrigger, origin):
    origin.on("/a", b"page")
    outrigger = make_outrigger(origin=origin.url, site={"https_redirect": True, "hsts": "365d"})
    response = outrigger.get("/a", fields={**SECURE, "Forwarded": "proto=https", "X-Forwarded-Ssl": "on", "Front-End-Https": "on"})
    assert response.status == 308 and response.get("strict-transport-security") is None and origin.count() == 0


def test_a_purge_is_of_what_is_stored_by_https(site, back, path):
    back.on(path, b"page")
    outrigger = site(https_redirect=True)
    for _ in range(2):
        assert outrigger.get(path, fields=SECURE).body == b"page"
    assert back.count(path) == 1
    purged = outrigger.get(path, method="PURGE")
    assert purged.status == 200 and b'"purged":true' in purged.body
    outrigger.get(path, fields=SECURE)
    assert back.count(path) == 2


# ---- Strict-Transport-Security


@pytest.mark.parametrize("setting, value", [("365d", "max-age=31536000"), ("0", "max-age=0"), ({"max_age": "1h", "include_subdomains": True}, "max-age=3600; includeSubDomains"),
                                            ({"max_age": "730d", "include_subdomains": True, "preload": True}, "max-age=63072000; includeSubDomains; preload")])
def test_hsts_is_sent_by_https_only(site, back, path, setting, value):
    back.on(path, b"page")
    outrigger = site(hsts=setting)
    for _ in range(2):  # miss and hit
        assert outrigger.get(path, fields=SECURE).all("strict-transport-security") == [value]
        assert outrigger.get(path).get("strict-transport-security") is None


def test_hsts_takes_the_place_of_the_origins(site, back, path):
    back.on(path, lambda request: request.answer("page", fields={"Cache-Control": "max-age=60", "Strict-Transport-Security": "max-age=1"}))
    for _ in range(2):
        assert site(hsts="1h").get(path, fields=SECURE).all("strict-transport-security") == ["max-age=3600"]
        assert site(hsts="off").get(path, fields=SECURE).all("strict-transport-security") == ["max-age=1"]


def test_hsts_is_on_errors_ranges_and_validations_too(site, back, path):
    back.on(path, lambda request: request.answer("hello", fields={"Cache-Control": "max-age=60", "ETag": '"a"'}))
    outrigger = site(hsts="1h")
    outrigger.get(path, fields=SECURE)
    for fields, status in ({"Range": "bytes=0-1"}, 206), ({"If-None-Match": '"a"'}, 304), ({"Range": "bytes=9-"}, 416):
        response = outrigger.get(path, fields={**SECURE, **fields})
        assert response.status == status and response.all("strict-transport-security") == ["max-age=3600"]
    response = outrigger.get("/", method="CONNECT", fields=SECURE)
    assert response.status == 405 or response.status == 400
    back.on(path + "-gone", lambda request: request.connection.close())
    response = outrigger.get(path + "-gone", fields=SECURE)
    assert response.status == 502 and response.all("strict-transport-security") == ["max-age=3600"] and response.get("cache-status") is not None


# ---- challenges


def test_challenges_pass_to_the_origin_and_are_not_redirected(site, back):
    back.on(CHALLENGE + "token", lambda request: request.answer(f"answer {back.count(CHALLENGE + 'token')}", fields={"Cache-Control": "max-age=60"}))
    outrigger = site(https_redirect=True)
    for number in 1, 2:
        response = outrigger.get(CHALLENGE + "token")
        assert response.status == 200 and response.body == b"answer %d" % number
        assert "detail=acme-challenge" in response.get("cache-status") and "stored" not in response.get("cache-status")
    assert outrigger.get("/.well-known/acme-challenges/token").status == 308
    assert outrigger.get("/.well-known/acme-challenge").status == 308


NO_TOKENS = ["", ".", "..", "../x", "../../x", "token/../../../x", "./token", "token/", "token/x", "/token", "with.dot", "token;a=b", "token=", "tok~en", "tok+en", "%74oken", "token%00", "token%2f..%2fx",
             "..%2f..%2fx", "%2e%2e/x", "%2e%2e%2fx"]


@pytest.mark.parametrize("name", NO_TOKENS)
def test_a_path_that_only_begins_like_a_challenge_is_redirected_and_cached_as_any_other(site, back, name):
    requests, path = back.count(), CHALLENGE + name
    back.on(path, lambda request: request.answer("page", fields={"Cache-Control": "max-age=60"}))
    outrigger = site(https_redirect=True)
    for query in "", "?", "?token", "?/.well-known/acme-challenge/token":
        response = outrigger.get(path + query)
        assert response.status == 308 and response.get("location") == f"https://site.test{path}{query}" and "acme-challenge" not in (response.get("cache-status") or "")
    assert back.count() == requests
    for result in "fwd=uri-miss", "hit":
        response = outrigger.get(path, fields=SECURE)
        assert response.body == b"page" and result in response.get("cache-status") and "acme-challenge" not in (response.get("cache-status") or "")
    assert back.count() == requests + 1


@pytest.mark.parametrize("query", ["", "?", "?a=b", "?../x", "?/../%2e"])
def test_what_the_query_of_a_challenge_is_does_not_matter(site, back, query):
    name = "aZ09-_" + str(back.count())
    back.on(CHALLENGE + name, b"answer")
    response = site(https_redirect=True).get(CHALLENGE + name + query)
    assert response.body == b"answer" and "detail=acme-challenge" in response.get("cache-status")


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    inside = outside / "challenges"
    inside.mkdir()
    (outside / "secret").write_text("secret")
    (inside / "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr_oA").write_text("token.thumbprint")
    (inside / "with.dot").write_text("no")
    (inside / "below").mkdir()
    (inside / "below" / "token").write_text("no")
    (inside / "index.html").write_text("no")
    os.symlink(outside / "secret", inside / "link")
    return inside


TOKEN = CHALLENGE + "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr_oA"


@pytest.fixture(scope="module")
def challenged(make_module_outrigger, back, directory):
    return make_module_outrigger(origin=back.url, config={"trusted_proxies": ["127.0.0.1"]}, site={"https_redirect": True, "hsts": "1h", "acme_challenge": str(directory)})


def test_a_directory_answers_challenges_by_http_and_https(challenged, back, directory):
    requests = back.count()
    for fields in {}, SECURE:
        response = challenged.get(TOKEN, fields=fields)
        assert response.status == 200 and response.body == b"token.thumbprint"
    assert challenged.get(TOKEN, method="HEAD").get("content-length") == "16"
    assert challenged.get(TOKEN + "?x=y").body == b"token.thumbprint"
    (directory / "new").write_text("one")
    assert challenged.get(CHALLENGE + "new").body == b"one"
    (directory / "new").write_text("two, and longer")
    assert challenged.get(CHALLENGE + "new").body == b"two, and longer", "never from the cache"
    (directory / "new").unlink()
    assert challenged.get(CHALLENGE + "new").status == 404
    assert back.count() == requests


@pytest.mark.parametrize("name", ["missing", "link", "x" * 5000])
def test_a_directory_has_no_other_challenges(challenged, back, name):
    requests = back.count()
    for fields in {}, SECURE:
        response = challenged.get(CHALLENGE + name, fields=fields)
        assert response.status in (403, 404) and b"secret" not in response.body and response.body != b"no"
    assert back.count() == requests


@pytest.mark.parametrize("name", NO_TOKENS + ["../secret", "%2e%2e/secret", "..%2fsecret", "%2e%2e%2fsecret", "below/token", "below%2ftoken", "below/", "index.html",
                                              "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr_oA/", "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ%2DPCt92wr_oA"])
def test_what_is_no_challenge_is_not_served_from_the_directory(challenged, back, name):
    back.on(CHALLENGE + name, b"the origin's")
    assert challenged.get(CHALLENGE + name).status == 308
    assert challenged.get(CHALLENGE + name, fields=SECURE).body == b"the origin's"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_a_directory_is_only_read(challenged, back, method):
    requests = back.count()
    assert challenged.get(TOKEN, method=method, body=b"x").status == 405
    assert back.count() == requests


def test_the_rest_of_the_site_is_the_origins(challenged, back, path):
    back.on(path, b"page")
    assert challenged.get(path, fields=SECURE).body == b"page"
    assert challenged.get(path).status == 308
    with challenged.connect() as connection:  # and a connection goes on after a challenge
        assert connection.request(TOKEN).status == 200
        assert connection.request(path).status == 308
        assert connection.request(TOKEN, body=b"a body").body == b"token.thumbprint"


def test_a_reload_changes_the_directory(make_outrigger, origin, tmp_path):
    for name in "one", "two":
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_text(name)
    outrigger = make_outrigger(origin=origin.url, site={"acme_challenge": str(tmp_path / "one")})
    assert outrigger.get(CHALLENGE + "token").body == b"one"
    outrigger.config["sites"][0]["acme_challenge"] = str(tmp_path / "two")
    outrigger.write_config()
    outrigger.reload()
    until(lambda: outrigger.get(CHALLENGE + "token").body == b"two", what="the new configuration to serve")


def test_the_settings_are_printed_as_they_are_read(make_outrigger, tmp_path):
    settings = {"https_redirect": 301, "acme_challenge": str(tmp_path), "hsts": {"max_age": "365d", "include_subdomains": True, "preload": True}}
    outrigger = make_outrigger(site=settings)
    printed = subprocess.run([BINARY, "-c", str(outrigger.config_path), "-T"], capture_output=True, text=True, check=True).stdout
    for line in "https_redirect: 301", f"acme_challenge: {tmp_path}", "max_age: 365d", "include_subdomains: true", "preload: true":
        assert line in printed, printed
