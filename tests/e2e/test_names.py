"""Names of origins: looked up by the resolver helper, kept for their TTL, renewed behind the requests' backs, and kept when the name servers fail."""

import re
import threading

import pytest

from harness.deaf import Deaf
from harness.outrigger import SLOW
from harness.poll import until
from harness.ports import free_port

NAME = "origin.test"
PASSED = {"Cache-Control": "no-store"}


def passed(body):
    return lambda request: request.answer(body, fields=PASSED)


@pytest.fixture
def named(make_outrigger, name_server, origin):
    """An accelerator whose origin is known by name, with one worker, since each keeps its own addresses."""

    def make(name=NAME, resolver=None, site=None, config=None):
        settings = {"servers": [name_server.address], "ttl_min": 0, "failure_ttl": "1s", **(resolver or {})}
        return make_outrigger(origin=f"http://{name}:{origin.port}", config={"workers": 1, "resolver": settings, **(config or {})}, site=site)

    return make


@pytest.fixture
def two(make_origin):
    """Origins at 127.0.0.1 and 127.0.0.2, at the same port."""

    def make(first_body=b"first", second_body=b"second"):
        first = make_origin()
        second = make_origin(port=first.port, address="127.0.0.2")
        first.on("*", passed(first_body))
        second.on("*", passed(second_body))
        return first, second

    return make


def test_an_ipv4_address_is_found(named, name_server, origin):
    name_server.records[NAME] = [("127.0.0.1", 60)]
    origin.on("/", b"by name")
    outrigger = named()
    assert outrigger.get("/").body == b"by name"
    assert origin.last().get("host") == "site.test"
    assert (NAME, "A") in name_server.questions and (NAME, "AAAA") in name_server.questions


def test_an_ipv6_address_is_found(make_outrigger, make_origin, name_server):
    origin = make_origin(address="::1")
    origin.on("/", b"by IPv6")
    name_server.records[NAME] = [("::1", 60)]
    outrigger = make_outrigger(origin=f"http://{NAME}:{origin.port}", config={"resolver": {"servers": [name_server.address]}})
    assert outrigger.get("/").body == b"by IPv6"


def test_names_are_told_apart_by_more_than_case(named, name_server, origin):
    name_server.records[NAME] = [("127.0.0.1", 60)]
    origin.on("/", b"by name")
    assert named(name="ORIGIN.Test").get("/").body == b"by name"


def test_the_hosts_file_is_heeded(named, name_server, origin):
    origin.on("/", b"here")
    assert named(name="localhost").get("/").body == b"here"
    assert name_server.count("localhost") == 0


def test_an_answer_is_kept_for_its_ttl(named, name_server, origin):
    name_server.records[NAME] = [("127.0.0.1", 3600)]
    origin.on("*", passed(b"x"))
    outrigger = named()
    for n in range(20):
        assert outrigger.get(f"/{n}").status == 200
    assert name_server.count(NAME) == 1 and name_server.count(NAME, "AAAA") == 1
    assert outrigger.metric("outrigger_name_lookups_total") == 1


def test_an_answer_is_renewed_when_its_ttl_is_over(make_outrigger, name_server, two):
    first, second = two()
    name_server.records[NAME] = [("127.0.0.1", 1)]
    outrigger = make_outrigger(origin=f"http://{NAME}:{first.port}", config={"workers": 1, "resolver": {"servers": [name_server.address], "ttl_min": 0}})
    assert outrigger.get("/").body == b"first"
    name_server.records[NAME] = [("127.0.0.2", 3600)]
    until(lambda: outrigger.get("/").body == b"second", what="the new address")
    until(lambda: not first.open, what="the connection to the old address to be closed")
    asked = name_server.count(NAME)
    assert [outrigger.get("/").body for _ in range(10)] == [b"second"] * 10
    assert name_server.count(NAME) == asked


def test_a_connection_in_use_to_an_address_that_went_away_is_not_kept(make_outrigger, name_server, two):
    first, second = two()
    arrived, go_on = threading.Event(), threading.Event()

    def wait(request):
        arrived.set()
        go_on.wait(30 * SLOW)
        request.answer(b"late", fields=PASSED)

    first.on("/wait", wait)
    name_server.records[NAME] = [("127.0.0.1", 1)]
    outrigger = make_outrigger(origin=f"http://{NAME}:{first.port}", config={"workers": 1, "resolver": {"servers": [name_server.address], "ttl_min": 0}})
    with outrigger.connect(timeout=30 * SLOW) as client:
        client.send("GET /wait HTTP/1.1\r\nHost: site.test\r\n\r\n")
        assert arrived.wait(20 * SLOW)
        name_server.records[NAME] = [("127.0.0.2", 3600)]
        until(lambda: outrigger.get("/").body == b"second", what="the new address")
        go_on.set()
        assert client.response().body == b"late"
    until(lambda: not first.open, what="the connection to the old address to be closed")


def test_a_long_ttl_is_cut_to_the_maximum(named, name_server, origin):
    name_server.records[NAME] = [("127.0.0.1", 1 << 30)]
    origin.on("*", passed(b"x"))
    outrigger = named(resolver={"ttl_max": "1s"})
    assert outrigger.get("/").status == 200
    until(lambda: name_server.count(NAME) >= 2, what="the renewal")


def test_a_short_ttl_is_raised_to_the_minimum(named, name_server, origin):
    name_server.records[NAME] = [("127.0.0.1", 0)]
    origin.on("*", passed(b"x"))
    outrigger = named(resolver={"ttl_min": "1h"})
    for n in range(20):
        assert outrigger.get(f"/{n}").status == 200
    assert name_server.count(NAME) == 1


def test_a_renewal_holds_nobody_up(named, name_server, origin):
    """While a renewal is unanswered, requests are: with the last known address."""
    name_server.records[NAME] = [("127.0.0.1", 1)]
    origin.on("*", passed(b"x"))
    outrigger = named(config={"helpers": {"deadline": "60s"}})
    assert outrigger.get("/").status == 200
    asked = name_server.count(NAME)
    name_server.mode = "silent"
    until(lambda: name_server.count(NAME) > asked, what="the renewal")
    failures = outrigger.metric("outrigger_name_lookup_failures_total")
    for n in range(10):
        assert outrigger.get(f"/{n}").status == 200
    assert outrigger.metric("outrigger_name_lookup_failures_total") == failures, "the renewal is still under way"


@pytest.mark.parametrize("mode", ["servfail", "silent", "garbage"])
def test_the_last_good_answer_stays_in_use(named, name_server, origin, mode):
    name_server.records[NAME] = [("127.0.0.1", 1)]
    origin.on("*", passed(b"x"))
    outrigger = named(config={"helpers": {"deadline": "400ms"}})
    until(lambda: outrigger.get("/").status == 200, what="an answer within the deadline")
    name_server.mode = mode
    until(lambda: outrigger.metric("outrigger_name_lookup_failures_total") >= 1, what="a failed renewal")
    assert outrigger.get("/").status == 200
    until(lambda: "the name could not be resolved; its last known addresses stay in use" in outrigger.errors(), what="the warning")
    name_server.mode = "answer"
    until(lambda: "the name resolves again" in outrigger.errors(), what="the end of the warning")
    assert outrigger.get("/").status == 200
    told = re.findall("the name could not be resolved|the name resolves again", outrigger.errors())
    assert all(one != next_one for one, next_one in zip(told, told[1:])), "told once"


def test_a_name_that_does_not_exist_is_502_until_it_does(named, name_server, origin):
    origin.on("/", b"at last")
    outrigger = named()
    answer = outrigger.get("/")
    assert answer.status == 502 and b"origin name does not resolve" in answer.body
    name_server.records[NAME] = [("127.0.0.1", 60)]
    until(lambda: outrigger.get("/").status == 200, what="the name to be found")
    assert outrigger.get("/").body == b"at last"


def test_a_name_that_ceases_to_exist_is_no_longer_used(named, name_server, origin):
    name_server.records[NAME] = [("127.0.0.1", 1)]
    origin.on("*", passed(b"x"))
    outrigger = named()
    assert outrigger.get("/").status == 200
    del name_server.records[NAME]
    until(lambda: outrigger.get("/").status == 502, what="the end of the name")


def test_a_failure_is_kept_for_a_while(named, name_server):
    """RFC 9520: a name that could not be resolved is not asked for with every request."""
    outrigger = named(resolver={"failure_ttl": "5m"})
    assert outrigger.get("/").status == 502
    for n in range(20):
        assert outrigger.get(f"/{n}").status in (502, 503)
    assert name_server.count(NAME) == 1


@pytest.mark.parametrize("mode", ["servfail", "silent"])
def test_a_reload_keeps_the_last_good_answer(named, name_server, origin, mode):
    """It neither waits for the name servers nor depends on them."""
    name_server.records[NAME] = [("127.0.0.1", 3600)]
    origin.on("*", passed(b"x"))
    outrigger = named(config={"helpers": {"deadline": "5m" if mode == "silent" else "2s"}})
    assert outrigger.get("/").status == 200
    name_server.mode = mode
    asked = name_server.count(NAME)
    for n in range(3):
        outrigger.ctl("reload")
        assert outrigger.get(f"/{n}").status == 200
    until(lambda: name_server.count(NAME) > asked, what="the name to be asked for again")
    if mode == "servfail":
        until(lambda: outrigger.metric("outrigger_name_lookup_failures_total") >= 1, what="the failure")
    assert outrigger.get("/after").status == 200


def test_a_reload_with_another_name_asks_for_it(named, name_server, origin):
    name_server.records[NAME] = [("127.0.0.1", 3600)]
    name_server.records["other.test"] = [("127.0.0.2", 3600)]
    origin.on("*", passed(b"x"))
    outrigger = named()
    assert outrigger.get("/").status == 200
    outrigger.config["sites"][0]["origin"] = f"http://other.test:{origin.port}"
    outrigger.write_config()
    outrigger.ctl("reload")
    assert outrigger.get("/").status == 502, "nobody listens at 127.0.0.2"
    assert name_server.count("other.test") == 1


def test_an_address_that_is_dead_is_passed_over_for_the_next(make_outrigger, make_origin, name_server):
    """Nobody listens at 127.0.0.3; whichever comes first, every request is answered."""
    origin = make_origin()
    origin.on("*", passed(b"alive"))
    name_server.records[NAME] = [("127.0.0.3", 60), ("127.0.0.1", 60)]
    outrigger = make_outrigger(origin=f"http://{NAME}:{origin.port}", config={"workers": 1, "resolver": {"servers": [name_server.address]}},
                               site={"pool": {"connections": 0}, "down": 0})
    assert [outrigger.get(f"/{n}").body for n in range(8)] == [b"alive"] * 8
    until(lambda: "127.0.0.3" in outrigger.errors(), what="the dead address in the error log")


def test_an_address_that_hangs_costs_a_fraction_of_its_timeout(make_outrigger, make_origin, name_server):
    """Happy eyeballs (RFC 8305): the next address is tried before the first has failed. 127.0.0.3's queue of connections is full."""
    origin = make_origin()
    origin.on("*", passed(b"alive"))
    deaf = Deaf(("127.0.0.3", origin.port))
    name_server.records[NAME] = [("127.0.0.3", 60), ("127.0.0.1", 60)]
    outrigger = make_outrigger(origin=f"http://{NAME}:{origin.port}", config={"workers": 1, "resolver": {"servers": [name_server.address]}},
                               site={"pool": {"connections": 0}, "timeouts": {"connect": "1h"}})
    assert [outrigger.get(f"/{n}").body for n in range(4)] == [b"alive"] * 4
    deaf.stop()


def test_a_dead_ipv6_address_leaves_the_ipv4_one(make_outrigger, make_origin, name_server):
    origin = make_origin()
    origin.on("*", passed(b"by IPv4"))
    name_server.records[NAME] = [("::1", 60), ("127.0.0.1", 60)]
    outrigger = make_outrigger(origin=f"http://{NAME}:{origin.port}", config={"resolver": {"servers": [name_server.address]}},
                               site={"pool": {"connections": 0}})
    assert [outrigger.get(f"/{n}").body for n in range(6)] == [b"by IPv4"] * 6


def test_the_addresses_of_a_name_take_turns(make_outrigger, name_server, two):
    first, second = two()
    name_server.records[NAME] = [("127.0.0.1", 60), ("127.0.0.2", 60)]
    outrigger = make_outrigger(origin=f"http://{NAME}:{first.port}", config={"workers": 1, "resolver": {"servers": [name_server.address]}},
                               site={"pool": {"connections": 0}})
    assert sorted(outrigger.get(f"/{n}").body for n in range(8)) == [b"first"] * 4 + [b"second"] * 4


def test_more_addresses_than_can_be_kept_do_no_harm(make_outrigger, make_origin, name_server):
    origin = make_origin(address="0.0.0.0")
    origin.on("*", passed(b"one of many"))
    name_server.records[NAME] = [(f"127.0.1.{n}", 60) for n in range(1, 101)]
    outrigger = make_outrigger(origin=f"http://{NAME}:{origin.port}", config={"resolver": {"servers": [name_server.address]}})
    assert outrigger.get("/").body == b"one of many"


def test_a_name_that_nobody_answers_for_holds_up_neither_hits_nor_other_sites(make_outrigger, name_server, origin):
    name_server.modes["lost.test"] = "silent"
    name_server.records[NAME] = [("127.0.0.1", 60)]
    origin.on("/stored", b"stored")
    origin.on("/passed", passed(b"passed"))
    sites = [
        {"hosts": ["lost.site"], "origin": "http://lost.test:80", "timeouts": {"connect": "1h"}},
        {"hosts": ["*"], "origin": f"http://{NAME}:{origin.port}"},
    ]
    outrigger = make_outrigger(config={"workers": 1, "resolver": {"servers": [name_server.address]}, "helpers": {"deadline": "60s"}, "sites": sites})
    assert outrigger.get("/stored").body == b"stored"
    waiting = [outrigger.connect(timeout=60 * SLOW).send(f"GET /{n} HTTP/1.1\r\nHost: lost.site\r\n\r\n") for n in range(20)]
    until(lambda: name_server.count("lost.test") > 0, what="the question that is not answered")
    for _ in range(50):
        hit = outrigger.get("/stored")
        assert hit.body == b"stored" and "; hit" in hit.get("cache-status")
        assert outrigger.get("/passed").body == b"passed"
    assert not outrigger.access_log.read_text().count("lost.site"), "they all wait"
    for client in waiting:
        client.close()


def test_a_name_server_that_is_not_there_is_502_in_time(make_outrigger):
    outrigger = make_outrigger(origin=f"http://{NAME}:80", config={"resolver": {"servers": [f"127.0.0.1:{free_port()}"]}, "helpers": {"deadline": "400ms"}})
    answer = outrigger.get("/")
    assert answer.status == 502 and b"origin name does not resolve" in answer.body


def test_an_address_needs_no_name_server(make_outrigger, name_server, origin):
    name_server.mode = "silent"
    origin.on("/", b"by address")
    outrigger = make_outrigger(origin=origin.url, config={"resolver": {"servers": [name_server.address]}})
    assert outrigger.get("/").body == b"by address"
    assert not name_server.questions
