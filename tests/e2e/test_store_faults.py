"""A disk that fails on command (tests/fault/diskfault.c) below the disk tier, under load: no client sees more of it than a slower answer."""
import os

import pytest
from harness.load import Load
from harness.outrigger import BINARY, SLOW
from harness.poll import until
from harness.store import with_store
from test_store import body_of, numbered

LIBRARY = os.path.abspath(os.path.join(os.path.dirname(BINARY), "diskfault.so"))
ENGINES = pytest.mark.parametrize("engine", ["io_uring", "blocking"])
SIZE, COUNT = 30000, 250  # some times the memory
BACK_SECONDS = 10  # after the fault's end at the latest


class Faults:
    """What fails in the disk of `environment`'s processes."""

    def __init__(self, path):
        self.path = path
        options = os.environ.get("ASAN_OPTIONS", "")
        self.environment = {"LD_PRELOAD": LIBRARY, "OUTRIGGER_DISKFAULT": str(path), "ASAN_OPTIONS": f"{options}:verify_asan_link_order=0".lstrip(":")}
        self.path.write_text("")
        self.set("")

    def set(self, rules):
        """In place and all at once: those who read it hold it open."""
        fd = os.open(self.path, os.O_WRONLY)
        os.pwrite(fd, rules.ljust(512, "\n").encode(), 0)
        os.close(fd)


@pytest.fixture
def faults(tmp_path):
    return Faults(tmp_path / "faults")


@pytest.fixture
def store(make_outrigger, origin, tmp_path, faults):
    """A store that is worked hard: little memory, and an engine."""
    origin.on("*", numbered)

    def make(engine, **cache):
        config = {"disk": {"engine": engine, "admit": "always"}}
        return with_store(make_outrigger, origin, tmp_path / "store", cache={"memory": "4MiB", **cache}, config=config, environment=faults.environment)

    return make


def load_of(outrigger):
    """What is read again and again, and what is always new."""
    targets = {f"/{n}/{SIZE}": body_of(n, SIZE) for n in range(COUNT)}
    targets["/9{}/8000"] = lambda n: body_of(f"9{n}", 8000)
    return Load(outrigger, targets)


def grows(outrigger, *names, by=1):
    """A condition: all of these are greater than they are now."""
    before = [outrigger.metric(name) for name in names]
    return lambda: all(outrigger.metric(name) >= was + by for name, was in zip(names, before))


def await_more(load, count):
    goal = load.count + count
    until(lambda: load.count >= goal or load.failures, timeout=60 * SLOW, what="requests")


def await_work(outrigger, timeout):
    """It reads and writes, well."""
    until(grows(outrigger, "outrigger_store_hits_total", "outrigger_store_admitted_bytes_total"), timeout, "the disk tier to work")


def under_load(outrigger, faults, rules, symptom):
    """`symptom` makes a condition of `outrigger` that becomes true while things fail."""
    with load_of(outrigger) as load:
        await_work(outrigger, 60 * SLOW)
        is_seen = symptom(outrigger)
        faults.set(rules)
        until(lambda: is_seen() or load.failures, timeout=60 * SLOW, what=f"{rules} to be seen")
        await_more(load, 100)
        faults.set("")
        until(lambda: not outrigger.metric("outrigger_store_bypassed"), BACK_SECONDS * SLOW, "the directory to be used again")
        await_work(outrigger, BACK_SECONDS * SLOW)
        load.end()
        assert not load.failures


def bypassed(outrigger):
    return lambda: outrigger.metric("outrigger_store_bypassed") == 1


# ---- it is bypassed, and comes back ----


@ENGINES
@pytest.mark.parametrize("rules", ["write 1 EIO", "write 3 ENOSPC", "sync 1 EIO"])
def test_a_disk_that_cannot_be_written_is_bypassed_and_used_again(store, faults, engine, rules):
    outrigger = store(engine)
    under_load(outrigger, faults, rules, bypassed)
    until(lambda: "going on without it" in outrigger.errors() and "it works again" in outrigger.errors(), what="the error log to tell")


@ENGINES
def test_a_disk_without_room_for_a_segment_is_used_when_it_has_some(store, faults, engine):
    faults.set("allocate 1 ENOSPC")
    outrigger = store(engine)
    with load_of(outrigger) as load:
        until(lambda: outrigger.metric("outrigger_store_bypassed") == 1, timeout=60 * SLOW, what="the directory to be bypassed")
        await_more(load, 100)
        faults.set("")
        until(lambda: not outrigger.metric("outrigger_store_bypassed"), BACK_SECONDS * SLOW, "the directory to be used")
        await_work(outrigger, BACK_SECONDS * SLOW)
        load.end()
        assert not load.failures


@ENGINES
def test_a_directory_that_fails_harms_no_other(store, faults, engine, tmp_path):
    paths = [str(tmp_path / name) for name in ("failing", "sound")]
    outrigger = store(engine, disk=[{"path": path, "size": "32MiB"} for path in paths])
    inode = os.stat(f"{paths[0]}/outrigger.store").st_ino
    with load_of(outrigger) as load:
        await_work(outrigger, 60 * SLOW)
        faults.set(f"only {inode}\nwrite 1 EIO\nread 1 EIO")
        until(lambda: outrigger.metric("outrigger_store_bypassed", directory=paths[0]) == 1 or load.failures, timeout=60 * SLOW, what="one to be bypassed")
        await_work(outrigger, 60 * SLOW)  # of the other
        assert outrigger.metric("outrigger_store_bypassed", directory=paths[1]) == 0
        faults.set("")
        until(lambda: not outrigger.metric("outrigger_store_bypassed"), BACK_SECONDS * SLOW, "the directory to be used again")
        load.end()
        assert not load.failures
    assert outrigger.metric("outrigger_store_write_failures_total", directory=paths[1]) == 0


# ---- it goes on ----


@ENGINES
@pytest.mark.parametrize("rules", ["read 1 EIO", "read 3 EIO"])
def test_what_cannot_be_read_is_fetched_again(store, faults, engine, rules):
    outrigger = store(engine)
    under_load(outrigger, faults, rules, lambda it: grows(it, "outrigger_store_read_failures_total", by=20))


@ENGINES
def test_what_is_read_wrongly_is_found_out(store, faults, engine):
    outrigger = store(engine)
    under_load(outrigger, faults, "read 2 flip", lambda it: grows(it, "outrigger_store_misses_total", by=20))


@ENGINES
@pytest.mark.parametrize("rules", ["read 1 short\nwrite 1 short", "read 2 EINTR\nwrite 2 EINTR\nsync 2 EINTR"])
def test_what_is_done_in_part_or_interrupted_goes_on(store, faults, engine, rules):
    outrigger = store(engine)
    under_load(outrigger, faults, rules, lambda it: grows(it, "outrigger_store_hits_total", "outrigger_store_writes_total", by=5))
    for name in ("read_failures", "write_failures", "misses"):
        assert outrigger.metric(f"outrigger_store_{name}_total") == 0, name
    assert "going on without it" not in outrigger.errors()


@ENGINES
def test_all_of_it_at_once(store, faults, engine):
    outrigger = store(engine)
    rules = "read 3 EIO\nread 4 short\nread 5 flip\nwrite 3 EIO\nwrite 2 short\nsync 2 EIO"
    under_load(outrigger, faults, rules, lambda it: grows(it, "outrigger_store_read_failures_total", "outrigger_store_misses_total", "outrigger_store_write_failures_total"))
