"""What makes a URL another one: key rules for the query, and the host's spelling."""
import json

import pytest

from harness.poll import until
from harness.status import status_of

FRESH = {"Cache-Control": "max-age=60"}


@pytest.fixture(scope="module")
def site(make_module_outrigger, back):
    """An accelerator whose site has the given rules for the query; one for each set of rules."""
    made = {}

    def make(**query):
        key = json.dumps(query)
        if key not in made:
            made[key] = make_module_outrigger(origin=back.url, site={"cache": {"query": query}})
        return made[key]

    back.on("*", lambda request: request.answer(request.target, fields=FRESH))
    return make


TRACKING = {"ignore": ["tracking", "sid"]}

# rules, path as asked, as the origin sees it
FORWARDED = [
    ({}, "?utm_source=x", "?utm_source=x"),
    ({}, "?b=1&a=2", "?b=1&a=2"),
    ({}, "?", "?"),
    (TRACKING, "", ""),
    (TRACKING, "?", "?"),
    (TRACKING, "?&&", "?&&"),
    (TRACKING, "?utm_source=x&gclid=y", ""),
    (TRACKING, "?utm_source=x&page=2&sid=%00&fbclid=z", "?page=2"),
    (TRACKING, "?utm%5fsource=x", "?utm%5fsource=x"),
    (TRACKING, "?a=%2F%2f&sid=1", "?a=%2F%2f"),
    ({"ignore": "x"}, "?x=1&x=2&y=3", "?y=3"),
    ({"keep": ["id", "page*"]}, "?x=1&page_size=2&id=3", "?page_size=2&id=3"),
    ({"keep": ["id", "page*"]}, "?x=1", ""),
    ({"keep": []}, "?x=1", ""),
    ({"sort": True}, "?b=1&a=2&b=0", "?a=2&b=1&b=0"),
    ({"sort": True, "ignore": ["tracking"]}, "?c&_ga=1&a&b", "?a&b&c"),
]


@pytest.mark.parametrize("rules, asked, forwarded", FORWARDED)
def test_the_origin_is_asked_by_what_is_in_the_key(site, back, path, rules, asked, forwarded):
    answer = site(**rules).get(path + asked)
    assert answer.body.decode() == path + forwarded == back.last().target
    hit = site(**rules).get(path + forwarded)
    assert "hit" in status_of(hit) and hit.body == answer.body


def test_a_parameter_outside_the_key_does_not_reach_the_origin_of_a_head_either(site, back, path):
    assert site(**TRACKING).get(path + "?gclid=1&a=2", method="HEAD").status == 200
    assert back.last().target == path + "?a=2"


def test_other_methods_are_forwarded_as_written_and_invalidate_by_the_same_key(site, back, path):
    outrigger = site(**TRACKING)
    outrigger.get(path + "?a=1")
    assert "hit" in status_of(outrigger.get(path + "?gclid=x&a=1"))
    assert outrigger.get(path + "?a=1&gclid=y", method="POST", body=b"x").body.decode() == path + "?a=1&gclid=y"
    assert "hit" not in status_of(outrigger.get(path + "?a=1"))


def test_the_log_has_the_target_as_it_was_asked(site, path):
    outrigger = site(**TRACKING)
    outrigger.get(path + "?gclid=1&a=2")
    until(lambda: any(f'"GET {path}?gclid=1&a=2 HTTP/1.1"' in line for line in outrigger.access_lines()), what="the line")


def test_purge_uses_the_same_rules(site, path):
    outrigger = site(**TRACKING)
    outrigger.get(path + "?a=1")
    assert json.loads(outrigger.get(path + "?utm_id=5&a=1", method="PURGE").body)["purged"] is True
    assert "hit" not in status_of(outrigger.get(path + "?a=1"))
    assert outrigger.ctl("purge", f"http://site.test{path}?a=1&sid=7").stdout == "purged\n"
    assert "hit" not in status_of(outrigger.get(path + "?a=1"))


def test_rules_belong_to_their_site(make_outrigger, origin):
    origin.on("*", lambda request: request.answer(request.target, fields=FRESH))
    outrigger = make_outrigger(config={"sites": [{"hosts": ["a.test", "*.b.test"], "origin": origin.url, "cache": {"query": {"keep": []}}}, {"hosts": ["c.test"], "origin": origin.url}]})
    seen = {host: outrigger.get("/p?x=1", host=host).body for host in ("a.test", "A.TEST:80", "www.b.test", "c.test")}
    assert seen == {"a.test": b"/p", "A.TEST:80": b"/p", "www.b.test": b"/p", "c.test": b"/p?x=1"}
    assert outrigger.ctl("purge", "http://www.b.test/p?y").stdout == "purged\n"
    assert outrigger.ctl("purge", "http://c.test/p?x=2").stdout == "nothing was stored of it\n"


def test_rules_change_with_a_reload(make_outrigger, origin):
    origin.on("*", lambda request: request.answer(request.target, fields=FRESH))
    outrigger = make_outrigger(origin=origin.url)
    assert outrigger.get("/p?x=1").body == b"/p?x=1"
    outrigger.config["sites"][0]["cache"] = {"query": {"ignore": "x"}}
    outrigger.write_config()
    assert "reloaded" in outrigger.ctl("reload").stdout
    assert outrigger.get("/p?x=1").body == b"/p"
    assert outrigger.ctl("purge", "http://site.test/p?x=3").stdout == "purged\n"


@pytest.mark.parametrize("host, same", [("SITE.test", True), ("site.test.", True), ("site.test:80", True), ("site.test.:80", True), ("site.test:81", False), ("www.site.test", False)])
def test_spellings_of_a_host_share_a_key(site, path, host, same):
    outrigger = site()
    outrigger.get(path)
    assert ("hit" in status_of(outrigger.get(path, host=host))) is same


@pytest.mark.parametrize("other", ["/a/", "/A", "/%61", "/./a", "//a", "/a;x", "/a?", "/a%00"])
def test_paths_are_keyed_byte_for_byte(site, back, path, other):
    outrigger = site()
    outrigger.get(path + "/a")
    assert outrigger.get(path + other).body.decode() == path + other == back.last().target


# No-Vary-Search: the origin says which parameters do not matter

def test_a_response_answers_the_urls_that_it_says_it_answers(proxy, back, path):
    back.on(path, lambda request: request.answer(request.target, fields={**FRESH, "No-Vary-Search": 'key-order, params=("ref" "utm_source")'}))
    first = proxy.get(path + "?a=1&ref=x&b=2")
    assert status_of(first)["stored"] is True and first.get("no-vary-search")
    for query in ("?a=1&b=2", "?b=2&a=1", "?ref=y&b=%32&a=1&", "?a=1&ref=x&b=2"):
        hit = proxy.get(path + query)
        assert "hit" in status_of(hit) and hit.body == first.body
    for query in ("", "?a=1", "?a=2&b=2", "?a=1&b=2&c"):
        assert proxy.get(path + query).body.decode() == path + query
    assert proxy.get(path + "?b=2&a=1&utm_source=z", method="HEAD").status == 200 and back.last(path + "?a=1&ref=x&b=2")
    assert back.count(path + "?b=2&a=1&utm_source=z") == 0


def test_a_purge_of_one_of_these_urls_is_a_purge_of_what_answers_it(proxy, back, path):
    back.on(path, lambda request: request.answer(request.target, fields={**FRESH, "No-Vary-Search": "except=()"}))
    proxy.get(path + "?a")
    assert proxy.get(path + "?b").body.decode() == path + "?a"
    assert json.loads(proxy.get(path + "?c", method="PURGE").body)["purged"] is True
    assert proxy.get(path + "?b").body.decode() == path + "?b"


def test_a_stale_response_is_refreshed_for_its_own_url_only(proxy, back, path):
    fields = {"Cache-Control": "max-age=60", "No-Vary-Search": "except=()", "ETag": '"1"'}
    back.on(path, lambda request: request.answer(request.target, fields={**fields, "Age": "100"}))
    proxy.get(path + "?a")
    back.on(path, lambda request: request.answer(request.target, fields=fields))
    assert proxy.get(path + "?b").body.decode() == path + "?b" and back.last().get("if-none-match") is None
    assert proxy.get(path).body.decode() == path + "?b"


def test_a_response_says_which_parameters_alone_matter(proxy, back, path):
    back.on(path, lambda request: request.answer(request.target, fields={**FRESH, "No-Vary-Search": 'except=("id";x "page"), key-order, future=?0'}))
    first = proxy.get(path + "?id=1&page=2&x=3")
    for query in ("?page=2&id=1", "?y=4&page=%32&id=1"):
        assert proxy.get(path + query).body == first.body
    for query in ("?id=1", "?id=1&page=3", "?id=1&page=2&page=2"):
        assert proxy.get(path + query).body.decode() == path + query


@pytest.mark.parametrize("field", ["params=(a)", "params", 'params, except=("a")', "params=?1", "nonsense?", ""])
def test_a_field_that_makes_no_sense_changes_nothing(proxy, back, path, field):
    back.on(path, lambda request: request.answer(request.target, fields={**FRESH, "No-Vary-Search": field}))
    assert [proxy.get(path + query).body.decode() for query in ("?a", "?b", "?a&")] == [path + "?a", path + "?b", path + "?a&"]
