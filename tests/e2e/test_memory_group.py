"""In a control group with less memory than the server would take, the kernel never has to end it (HARDENING, resources)."""
import os
import pathlib
import re

import pytest

from harness.outrigger import SLOW, Outrigger
from harness.poll import until

LIMIT = 96 << 20
FRESH = {"Cache-Control": "max-age=1000"}


class Group:
    """Below our own, with a limit; version 2 of control groups where it has memory there, else version 1."""

    def __init__(self):
        mounts = open("/proc/self/mountinfo").read()
        groups = dict(re.findall(r"^\d+:([^:]*):(.*)$", open("/proc/self/cgroup").read(), re.M))
        names = {word: path for words, path in groups.items() for word in words.split(",")}
        first, second = (re.search(r"^\d+ \d+ \S+ / (\S+) .* - " + kind, mounts, re.M) for kind in (r"cgroup \S+ \S*\bmemory\b", "cgroup2 "))
        if first and "memory" in names:
            top, limit = first[1] + names["memory"].rstrip("/"), "memory.limit_in_bytes"
        elif second and "" in names:
            top, limit = second[1] + names[""].rstrip("/"), "memory.max"
        else:
            pytest.skip("no control groups for memory here")
        self.path = pathlib.Path(top) / f"outrigger-test-{os.getpid()}"
        try:
            self.path.mkdir()
            (self.path / limit).write_text(str(LIMIT))
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
