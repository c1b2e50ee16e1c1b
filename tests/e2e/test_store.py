"""The disk tier: what is stored outlives restarts and crashes."""
import itertools
import signal

import pytest
from harness.load import Load
from harness.outrigger import SLOW
from harness.poll import until
from harness.status import status_of
from harness.store import await_recovered, await_written, restart, with_store

FRESH = {"Cache-Control": "max-age=3600"}
HOWS = pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGQUIT, signal.SIGKILL], ids=["stopped", "drained", "killed"])


@pytest.fixture
def store(make_outrigger, origin, tmp_path):
    def make(**options):
        return with_store(make_outrigger, origin, tmp_path / "store", **options)

    return make


def body_of(n, size):
    return (f"body {n} " * (size // 7 + 1)).encode()[:size]


def numbered(request):
    """/<n>/<size>"""
    _, n, size = request.target.split("/")
    request.answer(body_of(n, int(size)), fields={**FRESH, "ETag": f'"{n}-{size}"', "X-Number": n})


# ---- it survives ----


@HOWS
def test_what_was_stored_is_served_after_a_restart_without_the_origin(store, origin, how):
    origin.on("*", numbered)
    targets = [f"/{n}/{size}" for n, size in enumerate([0, 1, 100, 5000, 16000, 17000, 66000, 200000, 1500000])]
    outrigger = store(size="512MiB")
    for target in targets:
        assert outrigger.get(target).status == 200
    await_written(outrigger, len(targets))
    asked = origin.count()
    restart(outrigger, how)
    for target in targets:
        _, n, size = target.split("/")
        response = outrigger.get(target)
        assert (response.status, response.body) == (200, body_of(n, int(size)))
        assert response.get("X-Number") == n
        assert status_of(response)["hit"]
    assert origin.count() == asked


def test_the_age_goes_on_over_a_restart(store, origin):
    origin.on("*", lambda request: request.answer(b"old", fields={"Cache-Control": "max-age=3600", "Age": "1800"}))
    outrigger = store()
    outrigger.get("/")
    await_written(outrigger, 1)
    restart(outrigger)
    assert 1800 <= int(outrigger.get("/").get("Age")) < 1800 + 60 * SLOW


def test_the_proxy_alone_is_killed_and_its_successor_has_it_all(store, origin):
    import os

    origin.on("*", numbered)
    outrigger = store()
    for n in range(50):
        outrigger.get(f"/{n}/3000")
    await_written(outrigger, 50)
    (victim,) = outrigger.children("proxy")
    os.kill(victim, signal.SIGKILL)
    outrigger.await_children("proxy", 1, without=victim)
    await_recovered(outrigger)
    for n in range(50):
        assert outrigger.get(f"/{n}/3000").body == body_of(n, 3000)
    assert origin.count() == 50


def test_variants_survive(store, origin):
    def by_language(request):
        request.answer(request.get("Accept-Language").encode(), fields={**FRESH, "Vary": "Accept-Language"})

    origin.on("*", by_language)
    outrigger = store()
    for language in ("de", "en", "fr"):
        outrigger.get("/", fields={"Accept-Language": language})
    await_written(outrigger, 4)  # one of them says on what they vary
    restart(outrigger)
    for language in ("fr", "de", "en"):
        response = outrigger.get("/", fields={"Accept-Language": language})
        assert (response.body, status_of(response)["hit"]) == (language.encode(), True)
    assert origin.count() == 3


def test_a_validated_response_survives_with_its_new_lifetime(store, origin):
    def validated(request):
        if request.get("If-None-Match"):
            request.answer(status="304 Not Modified", fields={**FRESH, "ETag": '"1"', "X-Validated": "yes"}, length=False)
        else:
            request.answer(b"body", fields={"Cache-Control": "max-age=0", "ETag": '"1"'})

    origin.on("*", validated)
    outrigger = store()
    outrigger.get("/")
    assert outrigger.get("/").get("X-Validated") == "yes"
    await_written(outrigger, 1)
    restart(outrigger)
    response = outrigger.get("/")
    assert (response.body, response.get("X-Validated"), status_of(response)["hit"]) == (b"body", "yes", True)
    assert origin.count() == 2


def test_a_large_response_survives_in_slices(store, origin):
    body = bytes(range(256)) * 20000  # 5 MB
    origin.on("*", lambda request: request.answer(body, fields={**FRESH, "ETag": '"large"'}))
    outrigger = store(size="1GiB", cache={"memory": "64MiB"})
    assert outrigger.get("/").body == body
    await_written(outrigger, 3)  # its head and at least two slices
    restart(outrigger)
    response = outrigger.get("/")
    assert response.body == body and status_of(response)["hit"]
    part = outrigger.get("/", fields={"Range": "bytes=4200000-4200009"})
    assert (part.status, part.body) == (206, body[4200000:4200010])
    assert origin.count() == 1


# ---- it is a cache like the other ----


@pytest.fixture
def cold(store, origin):
    """/0/3000 to /9/3000 are on disk, and not in memory."""
    origin.on("*", numbered)
    outrigger = store()
    for n in range(10):
        outrigger.get(f"/{n}/3000")
    await_written(outrigger, 10)
    restart(outrigger)
    return outrigger


def test_many_who_want_one_record_share_one_read(cold, origin):
    with Load(cold, {"/3/3000": body_of(3, 3000)}, clients=8) as load:
        until(lambda: load.count >= 200 or load.failures, timeout=60 * SLOW, what="hits")
        load.end()
        assert not load.failures
    assert cold.metric("outrigger_store_hits_total") == 1
    assert origin.count() == 10


def test_head_conditions_and_ranges_are_answered_from_disk(cold, origin):
    head = cold.get("/1/3000", method="HEAD")
    assert (head.status, head.get("Content-Length")) == (200, "3000")
    assert cold.get("/2/3000", fields={"If-None-Match": '"2-3000"'}).status == 304
    part = cold.get("/3/3000", fields={"Range": "bytes=10-19"})
    assert (part.status, part.body) == (206, body_of(3, 3000)[10:20])
    assert origin.count() == 10


def test_why_tells_the_tier(cold):
    assert "disk" in cold.ctl("why", "http://site.test/5/3000").stdout
    cold.get("/5/3000")
    assert "memory" in cold.ctl("why", "http://site.test/5/3000").stdout


def test_what_memory_evicts_is_found_on_disk(store, origin):
    origin.on("*", numbered)
    outrigger = store(cache={"memory": "4MiB"}, size="128MiB", config={"helpers": {"deadline": "60s"}})
    for n in range(150):
        assert outrigger.get(f"/{n}/60000").status == 200
        if n % 10 == 9:  # more than the queue has room for would be dropped, where nobody has time to write it
            await_written(outrigger, n + 1)
    asked = origin.count()
    for n in range(150):
        assert outrigger.get(f"/{n}/60000").body == body_of(n, 60000)
    assert origin.count() == asked
    assert outrigger.metric("outrigger_store_hits_total") > 80


def test_the_file_never_has_more_bytes_than_configured(store, origin, tmp_path):
    origin.on("*", numbered)
    outrigger = store(size="16MiB", cache={"memory": "8MiB"}, config={"disk": {"admit": "always"}})
    numbers = itertools.count()

    def fill():
        for _ in range(100):
            last = next(numbers)
            outrigger.get(f"/{last}/50000")
        return outrigger.metric("outrigger_store_reclaimed_segments_total") > 5 and last

    last = until(fill, timeout=60 * SLOW, what="the log to go round")
    file = (tmp_path / "store" / "outrigger.store").stat()
    assert file.st_size <= 16 << 20 and file.st_blocks * 512 <= 16 << 20
    for n in range(last - 10, last):
        assert outrigger.get(f"/{n}/50000").body == body_of(n, 50000)


# ---- settings ----


@pytest.mark.parametrize("engine", ["io_uring", "blocking"])
def test_both_engines(store, origin, engine):
    origin.on("*", numbered)
    outrigger = store(config={"disk": {"engine": engine}})
    for n in range(30):
        outrigger.get(f"/{n}/40000")
    await_written(outrigger, 30)
    restart(outrigger)
    for n in range(30):
        assert outrigger.get(f"/{n}/40000").body == body_of(n, 40000)
    assert origin.count() == 30


def test_several_directories_share_by_size(store, origin, tmp_path):
    origin.on("*", numbered)
    disks = [{"path": str(tmp_path / "small"), "size": "16MiB"}, {"path": str(tmp_path / "large"), "size": "48MiB"}]
    outrigger = store(config={"cache": {"memory": "32MiB", "disk": disks}})
    for n in range(400):
        outrigger.get(f"/{n}/2000")
    await_written(outrigger, 400)
    small = outrigger.metric("outrigger_store_directory_records", directory=str(tmp_path / "small"))
    assert 60 <= small <= 140
    restart(outrigger)
    for n in range(400):
        assert outrigger.get(f"/{n}/2000").body == body_of(n, 2000)
    assert origin.count() == 400


def test_outriggerctl_store_shows_what_there_is(cold, tmp_path):
    cold.get("/1/3000")
    text = cold.ctl("store").stdout
    for word in ("responses", "write amplification" if "write amplification" in text else "written", "segments used", str(tmp_path / "store"), "Reads, time at the disk"):
        assert word in text, text


def test_outriggerctl_store_without_a_disk_tier(outrigger):
    done = outrigger.ctl("store", check=False)
    assert (done.returncode, "there is no disk tier" in done.stderr) == (1, True)
