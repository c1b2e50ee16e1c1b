"""Responses that are on disk only: found after a restart, and judged, varied, purged and explained as if they were in memory."""
import signal

import pytest

from harness.outrigger import Outrigger
from harness.poll import until
from test_slices import LARGE, SIZE, SLICE, Ranger, check
from test_why import lines, why

FRESH = {"Cache-Control": "max-age=600", "ETag": '"v1"'}
SITE = {"cache": {"slice": "64KiB", "honour_request_directives": True}}


def letter(fields):
    """The body tells which of the variants it is."""
    return lambda request: request.answer(f"for {request.get('x-want')}", fields={**fields, "Vary": "X-Want"})


def plain(fields):
    def answer(request):
        if request.get("if-none-match") == '"v1"':
            request.answer(b"", "304 Not Modified", FRESH, length=False)
        else:
            request.answer(b"x" * 3000, fields=fields)
    return answer


RESPONSES = {
    "/plain": plain(FRESH), "/head": plain(FRESH), "/only": plain(FRESH), "/why": plain(FRESH), "/url": plain(FRESH),
    "/soft": plain(FRESH), "/tag": plain({**FRESH, "Cache-Tag": "t"}), "/early": plain({**FRESH, "Cache-Tag": "early"}), "/gone": plain(FRESH),
    "/vary": letter(FRESH), "/varyurl": letter(FRESH), "/empty": lambda request: request.answer(b"", fields=FRESH),
}
RANGED = ("/large", "/whole", "/part")


@pytest.fixture(scope="module")
def rangers(back):
    return {path: Ranger(fields={**FRESH, "Content-Type": "x/y"}) for path in RANGED}


def fill(proxy, back, rangers):
    for path, answer in RESPONSES.items():
        back.on(path, answer)
        for want in "ab" if "vary" in path else "a":
            proxy.get(path, fields={"X-Want": want})
    for path, ranger in rangers.items():
        back.on(path, ranger)
    check(proxy.get("/large", fields={"Range": f"bytes=0-{SLICE - 1}"}), 0, SLICE - 1)
    assert proxy.get("/large").body == LARGE
    assert proxy.get("/whole").body == LARGE
    check(proxy.get("/part", fields={"Range": f"bytes={SLICE}-{3 * SLICE - 1}"}), SLICE, 3 * SLICE - 1)
    proxy.ctl("purge", "--tag", "early")
    proxy.ctl("purge", "http://site.test/gone")


@pytest.fixture(scope="module")
def proxy(back, rangers, tmp_path_factory):
    config = {"cache": {"memory": "16MiB", "disk": {"path": str(tmp_path_factory.mktemp("store") / "cache"), "size": "64MiB"}}}
    before = Outrigger(tmp_path_factory.mktemp("before"), origin=back.url, config=config, site=SITE)
    fill(before, back, rangers)
    before.stop(signal.SIGQUIT)  # in order: all is written
    back.requests.clear()
    for ranger in rangers.values():
        ranger.asked.clear()
    after = Outrigger(tmp_path_factory.mktemp("after"), origin=back.url, config=config, site=SITE)
    process = after.children("proxy")
    until(lambda: all(why(after, path)["outcome"] == "load" for path in ("/plain", "/vary", "/large", "/whole")), what="what is on disk to be found")
    yield after
    survivors = after.children("proxy")
    after.stop()
    assert survivors == process, after.output_text() + after.errors()


def test_a_hit_from_disk_says_so_once(proxy, back):
    before = proxy.metric("outrigger_cache_tier_hits_total", tier="disk")
    first, second = proxy.get("/plain"), proxy.get("/plain")
    assert first.body == second.body == b"x" * 3000
    assert first.get("cache-status").startswith("outrigger; hit; ttl=") and first.get("cache-status").endswith("; detail=disk")
    assert "detail" not in second.get("cache-status")
    assert back.count("/plain") == 0
    proxy.await_metric(before + 1, "outrigger_cache_tier_hits_total", tier="disk")


def test_nothing_is_left_out_that_is_short(proxy, back):
    assert proxy.get("/empty").status == 200 and back.count("/empty") == 0


def test_a_head_is_answered_from_disk(proxy, back):
    answer = proxy.get("/head", method="HEAD")
    assert (answer.status, answer.get("content-length")) == (200, "3000") and back.count("/head") == 0


def test_only_if_cached_finds_what_is_on_disk(proxy, back):
    assert proxy.get("/only", fields={"Cache-Control": "only-if-cached"}).body == b"x" * 3000
    assert proxy.get("/nowhere", fields={"Cache-Control": "only-if-cached"}).status == 504
    assert back.count("/only") == 0


@pytest.mark.parametrize("want", ["a", "b"])
def test_variants_are_found_by_their_selector(proxy, back, want):
    assert proxy.get("/vary", fields={"X-Want": want}).body == f"for {want}".encode()
    assert back.count("/vary") == 0


def test_why_tells_that_it_would_be_loaded(proxy, back):
    told = why(proxy, "/why")
    assert (told["outcome"], told["responses"]) == ("load", [])
    assert told["disk"]["tier"] == "disk" and not told["disk"]["lasting"] and told["disk"]["bytes"] >= 3000
    assert "On disk, not in memory" in lines(proxy, "/why")
    proxy.get("/why")
    told = why(proxy, "/why")
    assert told["outcome"] == "hit" and told["disk"] is None and told["responses"][0]["on_disk"]
    assert back.count("/why") == 0


# Purges

def test_a_purge_by_url_says_that_it_was_stored(proxy, back):
    assert proxy.get("/url", method="PURGE").body.startswith(b'{"purged":true')
    assert proxy.get("/url", method="PURGE").body.startswith(b'{"purged":false')
    assert "fwd=uri-miss" in proxy.get("/url").get("cache-status") and back.count("/url") == 1


def test_a_purge_by_url_takes_every_variant(proxy, back):
    assert proxy.get("/varyurl", method="PURGE").body.startswith(b'{"purged":true')
    for want in "ab":
        assert "miss" in proxy.get("/varyurl", fields={"X-Want": want}).get("cache-status")
    assert back.count("/varyurl") == 2


def test_a_soft_purge_by_url_makes_it_stale(proxy, back):
    assert proxy.get("/soft", method="PURGE", fields={"Fastly-Soft-Purge": "1"}).body.startswith(b'{"purged":true')
    answer = proxy.get("/soft")
    assert answer.body == b"x" * 3000 and "fwd=stale; fwd-status=304" in answer.get("cache-status") and "soft-purged" in answer.get("cache-status")
    assert "; hit" in proxy.get("/soft").get("cache-status") and back.count("/soft") == 1


def test_a_purge_by_tag_holds_for_what_is_on_disk(proxy, back):
    proxy.ctl("purge", "--tag", "t")
    assert "fwd=uri-miss" in proxy.get("/tag").get("cache-status") and back.count("/tag") == 1


@pytest.mark.parametrize("path", ["/early", "/gone"])
def test_what_was_purged_before_the_restart_does_not_come_back(proxy, back, path):
    assert "fwd=uri-miss" in proxy.get(path).get("cache-status") and back.count(path) == 1


# Slices

def test_slices_are_found_by_their_head(proxy, rangers):
    answer = proxy.get("/large")
    assert answer.body == LARGE and answer.get("cache-status").endswith("; detail=disk")
    assert rangers["/large"].asked == []


def test_what_was_fetched_whole_is_read_in_slices(proxy, rangers):
    check(proxy.get("/whole", fields={"Range": f"bytes={SIZE - 10}-"}), SIZE - 10, SIZE - 1)
    check(proxy.get("/whole", fields={"Range": f"bytes={SLICE - 5}-{SLICE + 5}"}), SLICE - 5, SLICE + 5)
    assert proxy.get("/whole").body == LARGE
    assert rangers["/whole"].asked == []


def test_slices_that_are_not_there_are_fetched(proxy, rangers):
    assert proxy.get("/part", fields={"Range": "bytes=0-", "Cache-Control": "only-if-cached"}).status == 504
    answer = proxy.get("/part", fields={"Range": f"bytes={SLICE}-{4 * SLICE - 1}"})
    check(answer, SLICE, 4 * SLICE - 1)
    assert answer.get("cache-status").startswith("outrigger; hit")
    assert rangers["/part"].asked == [f"bytes={3 * SLICE}-{4 * SLICE - 1}"]


# A slow disk

def test_those_who_want_the_same_share_one_read_and_may_leave(make_outrigger, origin, tmp_path):
    config = {"cache": {"memory": "16MiB", "disk": {"path": str(tmp_path / "store"), "size": "64MiB"}}}
    origin.on("/a", plain(FRESH)), origin.on("/b", plain(FRESH))
    before = make_outrigger(origin=origin.url, config=config)
    before.get("/a"), before.get("/b")
    before.stop(signal.SIGQUIT)
    after = make_outrigger(origin=origin.url, config={**config, "disk": {"read_delay": "300ms"}})
    until(lambda: why(after, "/a")["outcome"] == why(after, "/b")["outcome"] == "load", what="what is on disk to be found")
    reads = after.metric("outrigger_store_read_seconds_count")
    clients = [after.connect() for _ in range(5)]
    for client in clients:
        client.send("GET /a HTTP/1.1\r\nHost: site.test\r\n\r\n")
    gone = after.connect()
    gone.send("GET /b HTTP/1.1\r\nHost: site.test\r\n\r\n")
    until(lambda: after.metric("outrigger_client_connections_accepted_total") >= 6, what="all to be connected")
    gone.close(), clients[0].close()
    for client in clients[1:]:
        answer = client.response()
        assert answer.body == b"x" * 3000 and "; hit" in answer.get("cache-status")
        client.close()
    assert "; hit" in after.get("/b").get("cache-status")
    until(lambda: after.metric("outrigger_store_read_seconds_count") == reads + 2, what="two reads in all")
    assert origin.count() == 2
