"""Ranges of large files: what is read is the slices that are asked for, and slices of two versions are never put together."""
import os
import threading
import time

import pytest

from harness.http import Truncated
from harness.outrigger import SLOW
from harness.poll import until

SLICE = 1 << 20
HUGE = 4 << 30
OLD = 1_600_000_000


def marks(size, every=SLICE):
    """Where there is text in the sparse file, and which."""
    return {at: b"<%d>" % at for at in (0, every - 7, every, 3 * every - 3, size - every - 9, size - 12)}


def make_sparse(path, size, text=marks):
    with open(path, "wb") as file:
        file.truncate(size)
        for at, mark in text(size).items():
            file.seek(at)
            file.write(mark[: size - at])
    os.utime(path, (OLD, OLD))


def bytes_of(path, first, last):
    with open(path, "rb") as file:
        file.seek(first)
        return file.read(last - first + 1)


@pytest.fixture(scope="module")
def huge(tmp_path_factory):
    directory = tmp_path_factory.mktemp("huge")
    make_sparse(directory / "huge.bin", HUGE)
    return directory


@pytest.fixture
def make(make_outrigger):
    def make(root, max_age="1h", **cache):
        return make_outrigger(origin=f"files:{root}", site={"files": {"max_age": max_age}, "cache": {"slice": "1MiB", **cache}}, config={"cache": {"memory": "64MiB"}})

    return make


def bytes_read(outrigger):
    """By the disk helpers, from files and channels."""
    total = 0
    for pid in outrigger.children("disk"):
        total += int(open(f"/proc/{pid}/io").read().split("rchar: ")[1].split()[0])
    return total


class Meter:
    """How much more the helpers have read and the cache has stored."""

    def __init__(self, outrigger):
        self.outrigger, self.read, self.stored = outrigger, bytes_read(outrigger), outrigger.metric("outrigger_cache_object_bytes")

    def check(self, slices):
        """A slice that is still on its way is waited for."""
        until(lambda: self.outrigger.metric("outrigger_cache_object_bytes") - self.stored >= slices * SLICE, what=f"{slices} slices to be stored")
        read, stored = bytes_read(self.outrigger) - self.read, self.outrigger.metric("outrigger_cache_object_bytes") - self.stored
        assert slices * SLICE <= read < slices * SLICE + SLICE // 2, read
        assert stored < slices * SLICE + SLICE // 2, stored


def ask(outrigger, root, text, first, last, name="huge.bin", **fields):
    answer = outrigger.get(f"/{name}", fields={"Range": f"bytes={text}", **fields})
    size = os.path.getsize(root / name)
    assert (answer.status, answer.get("content-range")) == (206, f"bytes {first}-{last}/{size}"), answer
    assert answer.get("content-length") == str(last - first + 1) and answer.body == bytes_of(root / name, first, last)
    return answer


@pytest.mark.parametrize("text, first, last, count", [
    ("0-0", 0, 0, 1),
    (f"{HUGE - 1}-", HUGE - 1, HUGE - 1, 1),
    (f"{HUGE - 12}-{HUGE + 99}", HUGE - 12, HUGE - 1, 1),
    (f"{SLICE}-{SLICE}", SLICE, SLICE, 1),
    (f"{SLICE - 7}-{SLICE + 7}", SLICE - 7, SLICE + 7, 2),
    (f"{2 * SLICE}-{4 * SLICE - 1}", 2 * SLICE, 4 * SLICE - 1, 2),
    ("2500000000-2500000000", 2500000000, 2500000000, 1),
])
def test_a_range_of_4_gigabytes_costs_the_slices_that_it_touches(make, huge, text, first, last, count):
    outrigger = make(huge)
    meter = Meter(outrigger)
    answer = ask(outrigger, huge, text, first, last)
    assert answer.get("etag").startswith('"') and "fwd=uri-miss" in answer.get("cache-status")
    meter.check(count)
    reads = outrigger.metric("outrigger_file_reads_total")
    assert "hit" in ask(outrigger, huge, text, first, last).get("cache-status")
    assert outrigger.metric("outrigger_file_reads_total") == reads, "it is stored"


def test_the_last_bytes_of_4_gigabytes_cost_the_first_slice_and_the_last(make, huge):
    outrigger = make(huge)
    meter = Meter(outrigger)
    ask(outrigger, huge, "-12", HUGE - 12, HUGE - 1)  # how long the file is was not known yet
    meter.check(2)
    ask(outrigger, huge, "-1", HUGE - 1, HUGE - 1)
    ask(outrigger, huge, "0-9", 0, 9)
    meter.check(2)


def test_several_ranges_of_4_gigabytes(make, huge):
    outrigger = make(huge)
    meter = Meter(outrigger)
    answer = outrigger.get("/huge.bin", fields={"Range": f"bytes=0-9,{SLICE - 7}-{SLICE - 1},{HUGE - 12}-"})
    assert answer.status == 206 and answer.complete and answer.body.count(b"Content-Range") == 3
    assert b"\r\n\r\n" + bytes_of(huge / "huge.bin", HUGE - 12, HUGE - 1) + b"\r\n--" in answer.body
    meter.check(2)


def test_beyond_the_end_of_4_gigabytes_nothing_is_read(make, huge):
    outrigger = make(huge)
    before = bytes_read(outrigger)
    for text in (f"{HUGE}-", f"{HUGE + 5 * SLICE}-{HUGE + 6 * SLICE}"):
        answer = outrigger.get("/huge.bin", fields={"Range": f"bytes={text}"})
        assert (answer.status, answer.get("content-range")) == (416, f"bytes */{HUGE}")
    ask(outrigger, huge, "0-0", 0, 0)
    answer = outrigger.get("/huge.bin", fields={"Range": f"bytes={HUGE}-"})
    assert (answer.status, answer.get("content-range")) == (416, f"bytes */{HUGE}"), "by what is stored"
    assert bytes_read(outrigger) - before < 2 * SLICE


def test_conditions_and_head_of_4_gigabytes_read_nothing(make, huge):
    outrigger = make(huge)
    meter = Meter(outrigger)
    etag = ask(outrigger, huge, "0-0", 0, 0).get("etag")
    meter.check(1)
    assert outrigger.get("/huge.bin", fields={"If-None-Match": etag}).status == 304
    assert outrigger.get("/huge.bin", fields={"Range": "bytes=5-9", "If-Match": '"other"'}).status == 412
    ask(outrigger, huge, "5-9", 5, 9, **{"If-Range": etag})
    head = outrigger.get("/huge.bin", method="HEAD")
    assert (head.status, head.get("content-length")) == (200, str(HUGE))
    meter.check(1)


@pytest.mark.parametrize("fields, status", [({}, 206), ({"If-Range": '"other"'}, 200), ({"If-Match": '"other"'}, 412), ({"If-None-Match": "*"}, 304)])
def test_a_passed_request_gets_its_range_as_well(make, huge, fields, status):
    """With credentials nothing is stored of a response that does not allow it."""
    outrigger = make(huge)
    outrigger.get("/huge.bin", fields={"Range": "bytes=0-0", "Authorization": "Basic eA=="})
    before = bytes_read(outrigger)
    with outrigger.connect() as client:
        head = f"GET /huge.bin HTTP/1.1\r\nHost: h\r\nAuthorization: Basic eA==\r\nRange: bytes={HUGE - 12}-{HUGE - 1}\r\n"
        client.send(head + "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n")
        answer = client.head()
        assert answer.status == status
        if status == 206:
            assert answer.get("content-range") == f"bytes {HUGE - 12}-{HUGE - 1}/{HUGE}" and client.read_exactly(12) == b"<%d>" % (HUGE - 12)
    assert bytes_read(outrigger) - before < 32 * SLICE, "no more than fits between us and a client that has left"


# ---- changes ----


@pytest.fixture
def own(tmp_path):
    directory = tmp_path / "own"
    directory.mkdir()
    return directory


def write(path, letter, size, at=None):
    """A new version: replaced, as an editor does it, or (mtime `at`) written over."""
    if at is None:
        path.with_suffix(".new").write_bytes(letter * size)
        path.with_suffix(".new").rename(path)
    else:
        path.write_bytes(letter * size)
        os.utime(path, (at, at))


@pytest.mark.parametrize("how", ["replaced", "written over", "longer", "shorter"])
def test_a_file_that_changed_between_slices_is_delivered_in_one_version(make, own, how):
    outrigger, size = make(own), 5 * SLICE
    write(own / "f", b"a", size, OLD)
    assert ask(outrigger, own, "0-9", 0, 9, "f").body == b"a" * 10
    size += {"longer": 1, "shorter": -1}.get(how, 0)
    write(own / "f", b"b", size, None if how == "replaced" else OLD + 1)
    answer = ask(outrigger, own, f"{3 * SLICE - 5}-{3 * SLICE + 4}", 3 * SLICE - 5, 3 * SLICE + 4, "f")
    assert answer.body == b"b" * 10
    assert ask(outrigger, own, "0-9", 0, 9, "f").body == b"b" * 10, "the slice of the former version is not used any more"
    assert outrigger.get("/f").body == b"b" * size


def test_a_file_that_changes_under_a_response_breaks_it_off(make, own):
    outrigger = make(own)
    write(own / "f", b"a", 3 * SLICE, OLD)
    meter = Meter(outrigger)
    ask(outrigger, own, "0-9", 0, 9, "f")
    meter.check(1)
    write(own / "f", b"b", 3 * SLICE, OLD + 1)
    answer = outrigger.get("/f")
    assert not answer.complete and set(answer.body) == set(b"a"), "nothing of the new version behind the old one"
    assert outrigger.get("/f").body == b"b" * 3 * SLICE


def test_a_file_that_went_away_between_slices(make, own):
    outrigger = make(own)
    write(own / "f", b"a", 3 * SLICE, OLD)
    ask(outrigger, own, "0-9", 0, 9, "f")
    (own / "f").unlink()
    assert outrigger.get("/f", fields={"Range": f"bytes={2 * SLICE}-"}).status == 404


def test_a_stale_head_of_an_unchanged_file_keeps_its_slices(make, own):
    outrigger = make(own, max_age=0)
    write(own / "f", b"a", 3 * SLICE, OLD)
    meter = Meter(outrigger)
    ask(outrigger, own, "0-9", 0, 9, "f")
    meter.check(1)
    reads = outrigger.metric("outrigger_file_reads_total")
    assert "fwd-status=304" in ask(outrigger, own, "0-9", 0, 9, "f").get("cache-status")
    assert outrigger.metric("outrigger_file_reads_total") == reads + 1, "one look at the file"


def test_a_file_that_was_written_just_now(make, own):
    """Its next change may leave the mtime as it is; what is put together from parts waits for that to be past."""
    outrigger = make(own)
    for n in range(10):
        write(own / f"f{n}", b"a", 3 * SLICE)
        ask(outrigger, own, "5-9", 5, 9, f"f{n}")
        write(own / f"f{n}", b"b", 3 * SLICE)
        assert ask(outrigger, own, f"{SLICE}-{SLICE}", SLICE, SLICE, f"f{n}").body == b"b"


@pytest.mark.threads
def test_slices_of_a_file_that_is_replaced_all_the_time_are_of_one_version(make, own):
    outrigger, size, stop = make(own, max_age=0), 3 * SLICE, threading.Event()
    write(own / "f", b"0", size)

    def attempt():
        """None when nothing came but the end of the connection."""
        try:
            return outrigger.get("/f", fields={"Range": f"bytes={SLICE // 2}-{2 * SLICE + 5}"})
        except Truncated:
            return None

    def replace():
        n = 0
        while not stop.is_set():
            n = (n + 1) % 10
            write(own / "f", b"%d" % n, size)
            stop.wait(0.003)

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        end = time.monotonic() + 0.5 + (SLOW > 1)
        while time.monotonic() < end:
            answer = attempt()
            assert answer is None or answer.status in (206, 502)
            assert answer is None or answer.status == 502 or len(set(answer.body)) <= 1, "bytes of two versions"
    finally:
        stop.set()
        writer.join()
    write(own / "f", b"z", size, OLD)
    wanted = b"z" * (SLICE + SLICE // 2 + 6)
    until(lambda: (answer := attempt()) and answer.body == wanted, what="the last version, once nothing is joined that began before")
