"""What is in memory goes to the binary that takes over: without a disk tier, no origin is asked again; what was purged does not come back."""
import os
import random
import re
import signal

import pytest

from harness.outrigger import SLOW, descendants, title
from harness.poll import until
from harness.status import status_of
from test_slices import LARGE, SIZE, Ranger, check
from test_upgrade import UPGRADES, Clients, Halted, hit_ratio_over_upgrades, is_running, make, on_disk, put_back, replace, say  # noqa: F401 (make is a fixture)

TAKEN = re.compile(r"memory tier: (\d+) responses, (\d+) MiB taken over in (\d+) ms; (\d+) left out(; memory is full)?")


def take_over(outrigger):
    """An upgrade, until the old one has ended and what was in memory has been taken over: TAKEN's groups."""
    before, count = outrigger.pid(), len(TAKEN.findall(outrigger.errors()))
    outrigger.upgrade()
    until(lambda: not is_running(before), 30 * SLOW, "the old one to end")
    return until(lambda: (found := TAKEN.findall(outrigger.errors()))[count:] and found[-1], 30 * SLOW, "the memory tier to be taken over")


def is_hit(answer):
    return answer.get("Cache-Status").startswith("outrigger; hit")


def test_responses_of_all_sizes_are_hits_without_a_disk_tier(make, origin):
    bodies = {f"/{size}": random.Random(size).randbytes(size) for size in (0, 1, 1000, 16384, 65536, 65537, 1_000_000, 3_500_000)}
    for path, body in bodies.items():
        origin.on(path, lambda request, body=body: request.answer(body, fields={"Cache-Control": "max-age=600", "ETag": '"1"'}))
    outrigger = make()
    for path in bodies:
        outrigger.get(path)
    fetched = len(origin.requests)
    for _ in range(2):
        responses, _, _, left_out, full = take_over(outrigger)
        assert (int(responses), int(left_out), full) == (len(bodies), 0, "")
        for path, body in bodies.items():
            answer = outrigger.get(path)
            assert is_hit(answer) and answer.body == body, path
            assert outrigger.get(path, fields={"If-None-Match": '"1"'}).status == 304
    assert len(origin.requests) == fetched
    assert outrigger.metric("outrigger_cache_taken_over_responses_total") == len(bodies)
    assert outrigger.metric("outrigger_cache_taken_over_bytes_total") >= sum(map(len, bodies.values()))


def test_age_goes_on(make, origin):
    origin.on("/old", lambda request: request.answer("x", fields={"Cache-Control": "max-age=600", "Age": "300"}))
    outrigger = make()
    outrigger.get("/old")
    take_over(outrigger)
    answer = outrigger.get("/old")
    assert is_hit(answer) and 300 <= int(answer.get("Age")) < 300 + 60 * SLOW


def test_variants_and_what_may_not_be_stored(make, origin):
    origin.on("/vary", lambda request: request.answer(request.get("X-A", ""), fields={"Cache-Control": "max-age=600", "Vary": "X-A"}))
    origin.on("/never", lambda request: request.answer("x", fields={"Cache-Control": "no-store"}))
    outrigger = make()
    for value in "12":
        outrigger.get("/vary", fields={"X-A": value})
    outrigger.get("/never")
    take_over(outrigger)
    for value in "12":
        answer = outrigger.get("/vary", fields={"X-A": value})
        assert is_hit(answer) and answer.body == value.encode()
    assert not is_hit(outrigger.get("/vary", fields={"X-A": "3"}))
    assert not is_hit(outrigger.get("/never"))


def test_what_turned_out_not_to_be_storable_makes_nobody_wait(make, origin):
    outrigger = make(sites=[{"hosts": ["*"], "origin": origin.url, "cache": {"hit_for_miss": "1h"}}])
    for path in ("/mine", "/purged"):
        origin.on(path, lambda request: request.answer("x", fields={"Cache-Control": "private"}))
        outrigger.get(path)
    outrigger.ctl("purge", "http://site.test/purged")
    take_over(outrigger)
    for path, detail in (("/mine", "hit-for-miss"), ("/purged", None)):
        origin.on(path, lambda request: request.answer("x", fields={"Cache-Control": "max-age=600"}))
        assert status_of(outrigger.get(path)).get("detail") == detail, path


def test_slices_of_a_large_response(make, origin):
    ranger = Ranger()
    origin.on("/large", ranger)
    outrigger = make(sites=[{"hosts": ["*"], "origin": origin.url, "cache": {"slice": "64KiB"}}])
    for first in (0, SIZE // 2):
        check(outrigger.get("/large", fields={"Range": f"bytes={first}-{first + 99}"}), first, first + 99)
    fetched = len(ranger.asked)
    take_over(outrigger)
    for first in (0, SIZE // 2):
        check(outrigger.get("/large", fields={"Range": f"bytes={first}-{first + 99}"}), first, first + 99)
    assert len(ranger.asked) == fetched
    assert outrigger.get("/large").body == LARGE


def test_stale_responses_are_taken_over_as_they_are(make, origin):
    fields = {"Cache-Control": "max-age=1, stale-while-revalidate=600", "Age": "100", "ETag": '"1"'}
    origin.on("/swr", lambda request: request.answer("x", fields=fields))
    outrigger = make()
    outrigger.get("/swr")
    take_over(outrigger)
    answer = outrigger.get("/swr")
    assert is_hit(answer) and "ttl=-" in answer.get("Cache-Status")
    until(lambda: origin.count("/swr") == 2, 10 * SLOW, "it to be revalidated")
    assert origin.last("/swr").get("If-None-Match") == '"1"'


def tagged(tag):
    return lambda request: request.answer("x", fields={"Cache-Control": "max-age=600", "Surrogate-Key": tag})


def test_purges_after_it_concern_what_was_taken_over(make, origin):
    for path in ("/tag", "/url", "/kept"):
        origin.on(path, tagged(path[1:]))
    outrigger = make()
    for path in ("/tag", "/url", "/kept"):
        outrigger.get(path)
    take_over(outrigger)
    outrigger.ctl("purge", "--tag", "tag")
    assert outrigger.ctl("purge", "http://site.test/url").stdout == "purged\n"
    assert is_hit(outrigger.get("/kept")) and not is_hit(outrigger.get("/tag")) and not is_hit(outrigger.get("/url"))
    take_over(outrigger)
    outrigger.ctl("purge", "--host", "site.test")
    for path in ("/tag", "/url", "/kept"):
        assert not is_hit(outrigger.get(path)), path


@pytest.mark.parametrize("has_disk", [False, True], ids=["memory", "disk"])
def test_purges_just_before_it_hold(make, tmp_path, origin, has_disk):
    outrigger = make(**on_disk(tmp_path) if has_disk else {})
    for path in ("/tag", "/url", "/soft", "/kept"):
        origin.on(path, tagged(path[1:]))
        outrigger.get(path)
    outrigger.ctl("purge", "--tag", "tag")
    outrigger.ctl("purge", "--soft", "--tag", "soft")
    outrigger.ctl("purge", "http://site.test/url")
    take_over(outrigger)
    assert is_hit(outrigger.get("/kept"))
    for path in ("/tag", "/url", "/soft"):
        assert not is_hit(outrigger.get(path)), path


def test_a_purge_that_is_accepted_at_any_moment_of_upgrades_holds(make, origin):
    """Of what is fetched and purged over and over while others take over, nothing is seen in the end that is older than the last purge acknowledged."""
    version, purged = 0, 0
    origin.on("/page", lambda request: request.answer(f"{version}", fields={"Cache-Control": "max-age=600"}))
    outrigger = make()
    for i in range(200):
        outrigger.get(f"/{i}")
    for _ in range(UPGRADES):
        before, count = outrigger.pid(), len(TAKEN.findall(outrigger.errors()))
        os.kill(before, signal.SIGUSR2)
        while len(TAKEN.findall(outrigger.errors())) == count:
            outrigger.get("/page")
            version += 1
            if outrigger.get("/page", method="PURGE").status == 200:
                purged = version
        until(lambda: outrigger.pid() != before and not is_running(before), 30 * SLOW, "the old one to end")
        assert int(outrigger.get("/page").body) >= purged


def test_another_hash_key_is_told_and_leaves_memory_empty(make, tmp_path, origin):
    outrigger = make()
    outrigger.get("/1")
    outrigger.config["cache"]["disk"] = [{"path": str(tmp_path / "store"), "size": "64MiB"}]
    outrigger.write_config()
    before = outrigger.pid()
    outrigger.upgrade()
    until(lambda: not is_running(before), 30 * SLOW, "the old one to end")
    until(lambda: "memory tier not taken over: it has another hash key" in outrigger.errors(), 20 * SLOW, "the reason")
    assert not is_hit(outrigger.get("/1")) and is_hit(outrigger.get("/1"))


def test_less_memory_takes_what_was_asked_for_most(make, origin):
    outrigger = make(cache={"memory": "32MiB"})
    origin.on("*", lambda request: request.answer(b"x" * 100_000, fields={"Cache-Control": "max-age=600"}))
    for i in range(200):
        outrigger.get(f"/{i}")
    for i in range(50, 70):
        for _ in range(3):
            outrigger.get(f"/{i}")
    outrigger.config["cache"]["memory"] = "8MiB"
    outrigger.write_config()
    responses, _, _, _, full = take_over(outrigger)
    assert full and 40 < int(responses) < 100
    fetched = len(origin.requests)
    for i in range(50, 70):
        assert is_hit(outrigger.get(f"/{i}")), i
    assert len(origin.requests) == fetched


def test_the_hit_ratio_is_kept_without_a_disk_tier(make, origin):
    outrigger = make()
    assert hit_ratio_over_upgrades(outrigger, origin) > 0.9
    assert "not taken over" not in outrigger.errors()


def test_one_that_dies_when_it_has_the_list_leaves_the_old_one_as_it_was(make, origin):
    outrigger = make()
    before = outrigger.pid()
    outrigger.get("/early")
    replace(outrigger, f"sleep 0.1\n{say('R')}\nsleep 0.3")
    os.kill(before, signal.SIGUSR2)
    until(lambda: "the old one keeps serving" in outrigger.errors(), 20 * SLOW, "the failure to be told")
    assert "responses, 0 MiB listed" in outrigger.errors() and outrigger.pid() == before
    outrigger.get("/late")
    assert is_hit(outrigger.get("/early")) and is_hit(outrigger.get("/late"))
    until(lambda: "purges are taken again" in outrigger.errors(), 20 * SLOW, "purges to be taken again")
    assert outrigger.get("/late", method="PURGE").status == 200
    outrigger.get("/late")
    put_back(outrigger)
    assert take_over(outrigger)[0] == "2"
    assert is_hit(outrigger.get("/early")) and is_hit(outrigger.get("/late"))


def test_one_that_dies_while_the_old_proxy_does_nothing(make, origin):
    outrigger = make()
    before = outrigger.pid()
    outrigger.get("/early")
    replace(outrigger, f"sleep 0.1\n{say('R')}\nsleep 0.2")
    with Halted(outrigger):
        os.kill(before, signal.SIGUSR2)
        until(lambda: "the old one keeps serving" in outrigger.errors(), 20 * SLOW, "the failure to be told")
    put_back(outrigger)
    assert take_over(outrigger)[0] == "1"
    assert is_hit(outrigger.get("/early"))


def test_the_old_one_is_killed_while_its_memory_is_copied(make, origin):
    bodies = [random.Random(i).randbytes(1_000_000) for i in range(25)]
    for i, body in enumerate(bodies):
        origin.on(f"/{i}", lambda request, body=body: request.answer(body, fields={"Cache-Control": "max-age=600"}))
    outrigger = make()
    for i in range(len(bodies)):
        outrigger.get(f"/{i}")
    before = outrigger.pid()
    old = [before] + [pid for pid in descendants(before) if title(pid).startswith("outrigger")]
    os.kill(before, signal.SIGUSR2)
    until(lambda: "this binary has taken over" in outrigger.errors(), 60 * SLOW, "the new binary to take over")
    for pid in old:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    until(lambda: TAKEN.search(outrigger.errors()), 30 * SLOW, "the memory tier to be taken over")
    until(lambda: outrigger.pid() not in (0, before), 30 * SLOW, "the new one")
    fetched = len(origin.requests)
    for i, body in enumerate(bodies):
        answer = outrigger.get(f"/{i}")
        assert answer.body == body
    assert len(origin.requests) == fetched
