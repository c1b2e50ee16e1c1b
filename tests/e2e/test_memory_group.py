"""In a control group with less memory than the server would take, the kernel never has to end it (HARDENING, resources)."""
import os
import pathlib
import re

import pytest

from harness.outrigger import SLOW, Outrigger
from harness.poll import until

LIMIT = 96 << 20
FRESH = {"Cache-Control": "max-age=1000"}


def find_place(groups, mounts):
    """Where a group with a limit may be made, and what the limit's file is called: below our own group where that is version 1's; of version 2 below the nearest
    one, from our own up, that gives memory on to those below it. A reason where there is none."""
    names = {word: path for words, path in re.findall(r"^\d+:([^:]*):(.*)$", groups, re.M) for word in words.split(",")}
    first, second = (re.search(r"^\d+ \d+ \S+ / (\S+) .* - " + kind, mounts, re.M) for kind in (r"cgroup \S+ \S*\bmemory\b", "cgroup2 "))
    if first and "memory" in names:
        return pathlib.Path(first[1] + names["memory"].rstrip("/")), "memory.limit_in_bytes"
    if not second or "" not in names:
        return "no control groups for memory here"
    top = pathlib.Path(second[1])
    own = top / names[""].strip("/")
    for place in (own, *own.parents):
        if (place / "cgroup.subtree_control").exists() and "memory" in (place / "cgroup.subtree_control").read_text().split():
            return place, "memory.max"
        if place == top:
            break
    return "no control group here gives memory on to those below it"


class Group:
    """With a limit of its own."""

    def __init__(self):
        place = find_place(open("/proc/self/cgroup").read(), open("/proc/self/mountinfo").read())
        if isinstance(place, str):
            pytest.skip(place)
        self.path = place[0] / f"outrigger-test-{os.getpid()}"
        try:
            self.path.mkdir()
            (self.path / place[1]).write_text(str(LIMIT))
        except OSError as error:
            if self.path.exists():
                self.path.rmdir()
            pytest.skip(f"no control group may be made here: {error}")

    def enter(self):
        (self.path / "cgroup.procs").write_text("0")

    def ended_by_the_kernel(self):
        for name, word in (("memory.oom_control", "oom_kill"), ("memory.events", "oom_kill")):
            if (self.path / name).exists():
                return int(re.search(rf"^{word} (\d+)$", (self.path / name).read_text(), re.M)[1])
        return 0


def test_a_place_for_a_group_is_found_by_what_the_kernel_says(tmp_path):
    top = tmp_path / "mount"
    v2 = f"26 1 0:23 / {top} rw,nosuid - cgroup2 cgroup2 rw\n"
    v1 = f"35 31 0:32 / {top}/memory rw - cgroup cgroup rw,memory\n"
    own = top / "user.slice" / "session"
    own.mkdir(parents=True)
    (own / "cgroup.subtree_control").write_text("\n")
    nowhere = "no control group here gives memory on to those below it"
    assert find_place("0::/user.slice/session\n", v2) == nowhere
    (tmp_path / "cgroup.subtree_control").write_text("memory\n")
    assert find_place("0::/user.slice/session\n", v2) == nowhere, "that one lies above the mount"
    (top / "cgroup.subtree_control").write_text("cpu memory pids\n")
    assert find_place("0::/user.slice/session\n", v2) == (top, "memory.max")
    assert find_place("0::/\n", v2) == (top, "memory.max")
    (own / "cgroup.subtree_control").write_text("memory\n")
    assert find_place("0::/user.slice/session\n", v2) == (own, "memory.max")
    assert find_place("4:memory:/a/b\n0::/user.slice/session\n", v1 + v2) == (top / "memory/a/b", "memory.limit_in_bytes")
    assert find_place("3:cpu:/a\n", v1) == "no control groups for memory here"


@pytest.fixture
def group():
    made = Group()
    yield made
    until(lambda: (made.path / "cgroup.procs").read_text() == "", what="its processes to end")
    made.path.rmdir()


class Grouped(Outrigger):
    def before_exec(self):
        self.group.enter()


@pytest.mark.skipif(SLOW > 1, reason="what a sanitizer takes for itself is more than the group's limit")
def test_a_group_with_less_memory_than_cache_memory_bounds_the_cache_and_nobody_is_ended(group, origin, tmp_path):
    body = os.urandom(1 << 20)
    origin.on("*", lambda request: request.answer(body, fields=FRESH))
    Grouped.group = group
    outrigger = Grouped(tmp_path, origin=origin.url, config={"cache": {"memory": "256MiB"}})
    proxies = outrigger.children("proxy")
    try:
        until(lambda: outrigger.metric("outrigger_memory_limit_bytes") == LIMIT - (16 << 20), what="the group's limit, less a margin, to be found")
        for number in range(160):
            assert outrigger.get(f"/{number}").body == body
        assert outrigger.children("proxy") == proxies and group.ended_by_the_kernel() == 0
        assert 8 << 20 < outrigger.metric("outrigger_cache_memory_held_bytes") < LIMIT and outrigger.metric("outrigger_cache_evictions_total") > 0
        assert outrigger.metric("outrigger_memory_level_entered_total", level="refuses_misses") == 0
        assert "that the control group may take: the cache stops growing before" in outrigger.errors()
    finally:
        outrigger.stop()
