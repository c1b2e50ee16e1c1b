"""What is written: everything until the disk has been full once, then what is asked for twice."""
import pytest
from harness.poll import until
from harness.status import status_of
from harness.store import await_written, restart, with_store
from test_store import FRESH, body_of, numbered


def refused(outrigger):
    return outrigger.metric("outrigger_store_refused_total")


def written(outrigger):
    await_written(outrigger, 0)


@pytest.fixture
def full(make_outrigger, origin, tmp_path):
    """Its log has been full: what is asked for once is refused."""
    origin.on("*", numbered)
    outrigger = with_store(make_outrigger, origin, tmp_path / "store", size="8MiB")
    n = 0
    while refused(outrigger) == 0:
        for _ in range(25):
            outrigger.get(f"/{n}/100000")
            n += 1
        written(outrigger)
        assert n < 500, "the log is never full"
    assert n > 30, "everything is written until the log is full"
    return outrigger


def on_disk(outrigger, origin, targets, **options):
    """Those that are found there after a restart."""
    written(outrigger)
    restart(outrigger)
    found = []
    for target in targets:
        asked = origin.count()
        outrigger.get(target, **options)
        found += [target] if origin.count() == asked else []
    return found


def test_a_full_disk_takes_what_is_asked_for_twice(full, origin):
    before = refused(full)
    for n in range(1000, 1020):
        full.get(f"/{n}/1000")
    until(lambda: refused(full) == before + 20, what="all of them to be refused")
    for n in range(1000, 1005):
        assert status_of(full.get(f"/{n}/1000"))["hit"]
    assert on_disk(full, origin, [f"/{n}/1000" for n in range(1000, 1020)]) == [f"/{n}/1000" for n in range(1000, 1005)]


def test_what_is_fetched_a_second_time_is_taken(full, origin):
    for _ in range(2):
        full.get("/1/1000")
        full.ctl("purge", "http://site.test/1/1000")
    full.get("/1/1000")
    assert on_disk(full, origin, ["/1/1000"]) == ["/1/1000"]


def test_a_variant_is_known_again_though_its_selector_is_another(full, origin):
    origin.on("*", lambda request: request.answer(request.get("Accept-Language").encode(), fields={**FRESH, "Vary": "Accept-Language"}))
    german = {"Accept-Language": "de"}
    full.get("/", fields=german)
    full.ctl("purge", "http://site.test/")
    full.get("/", fields=german)
    full.get("/", fields={"Accept-Language": "en"})
    assert on_disk(full, origin, ["/"], fields=german) == ["/"]
    assert on_disk(full, origin, ["/"], fields={"Accept-Language": "en"}) == []


def test_always_goes_on_writing(make_outrigger, origin, tmp_path):
    origin.on("*", numbered)
    outrigger = with_store(make_outrigger, origin, tmp_path / "store", size="8MiB", config={"disk": {"admit": "always"}})
    for n in range(150):
        outrigger.get(f"/{n}/100000")
        if n % 25 == 24:
            written(outrigger)
    assert refused(outrigger) == 0
    assert on_disk(outrigger, origin, [f"/{n}/100000" for n in range(145, 150)]) == [f"/{n}/100000" for n in range(145, 150)]


def test_what_is_too_large_is_counted_as_refused(make_outrigger, origin, tmp_path):
    origin.on("*", lambda request: request.answer(body_of(1, 3 << 20), fields=FRESH))
    outrigger = with_store(make_outrigger, origin, tmp_path / "store", size="64MiB")
    outrigger.get("/")
    until(lambda: refused(outrigger) == 1, what="it to be refused")
    assert outrigger.metric("outrigger_store_records") == 0
