"""Crashes at any moment, and damage of any kind: afterwards no wrong byte, nothing that was purged, and all that was written.

`make torture` does a thousand times as much: TORTURE_KILLS, TORTURE_FLIPS. TORTURE_SEED is another course of events."""
import os
import shutil
import signal

import pytest
from harness.http import Truncated
from harness.outrigger import SLOW
from harness.poll import until
from harness.store import await_recovered, kill_family, with_store
from harness.torture import SITE, Actors, World

KILLS = int(os.environ.get("TORTURE_KILLS", 20 if SLOW == 1 else 6))
FLIPS = int(os.environ.get("TORTURE_FLIPS", 3000 if SLOW == 1 else 1000))
SEED = int(os.environ.get("TORTURE_SEED", 1))
IS_LONG = KILLS > 100
FIRST_SEGMENT, UNIT = 1 << 20, 512


def say(*words):
    if IS_LONG:
        print(*words, flush=True)


class Stage:
    """A world, and an accelerator with a store in front of it."""

    def __init__(self, make_outrigger, origin, path, seed, size, memory, engine="io_uring"):
        self.world, self.path, self.size = World(origin, seed), path, size
        config = {"disk": {"engine": engine, "admit": "always"}}
        self.outrigger = with_store(make_outrigger, origin, path, size=size, cache={"memory": memory}, config=config, site=SITE)
        self.kept, self.lost = 0, []
        self.gone = 0  # by damage

    def check(self, number):
        assert not self.world.faults, f"seed {self.world.seed}, round {number}: {self.world.faults[:5]}"
        assert not self.lost, f"seed {self.world.seed}, round {number}: lost {self.lost[:5]}"

    def kill(self):
        """The family, or the proxy alone."""
        if self.world.chance.random() < 0.6:
            kill_family(self.outrigger)
            self.restart_with(lambda: None)
            return
        (victim,) = self.outrigger.children("proxy")
        os.kill(victim, signal.SIGKILL)
        self.outrigger.await_children("proxy", 1, without=victim)
        until(self.answers, timeout=20 * SLOW, what="the next proxy")
        await_recovered(self.outrigger)

    def answers(self):
        try:
            return self.outrigger.metrics()
        except (OSError, Truncated):
            return False

    def restart_with(self, change):
        """It is dead; and `change` happens before it comes back."""
        change()
        self.outrigger.notify.close()
        self.outrigger.output.close()
        self.outrigger.start()
        await_recovered(self.outrigger)

    def is_nearly_full(self):
        return self.outrigger.metric("outrigger_store_segments_used") > 0.8 * self.outrigger.metric("outrigger_store_segments")

    def has_dropped(self):
        metrics = self.outrigger.metrics()
        return sum(v for name, v in metrics.items() if name.split("{")[0] in ("outrigger_store_dropped_total", "outrigger_store_write_failures_total")) > 0


def kill_round(stage, must_keep):
    world, outrigger = stage.world, stage.outrigger
    is_kept = False
    if must_keep:
        world.settle(outrigger)
        is_kept = not stage.has_dropped()
    actors = Actors(world, outrigger)
    actors.await_actions(world.chance.randrange(20 if is_kept else 300))
    actors.expect_the_worst(go_on=not is_kept)
    stage.kill()
    actors.end()
    kept, lost = world.read_back(outrigger)
    if is_kept:
        stage.kept += kept
        stage.lost += lost


@pytest.fixture
def make_stage(make_outrigger, origin, tmp_path):
    def make(seed, **options):
        return Stage(make_outrigger, origin, tmp_path / "store", seed, **options)

    return make


@pytest.mark.parametrize("engine", ["io_uring", "blocking"])
def test_kills_lose_nothing_that_was_written(make_stage, engine):
    stage = make_stage(SEED, size="256MiB", memory="64MiB", engine=engine)
    rounds = max(1, KILLS // 4)
    for number in range(rounds + 20):
        if number >= rounds and stage.kept > 0:  # a slow machine may have dropped something in each round that was to keep all
            break
        kill_round(stage, must_keep=number % 2 == 0)
        stage.check(number)
        if stage.is_nearly_full():
            kill_family(stage.outrigger)
            stage.restart_with(lambda: shutil.rmtree(stage.path))
        if number % 20 == 19:
            say(engine, number + 1, "kills,", stage.kept, "kept,", stage.world.seen, "right answers")
    assert stage.kept > 0


def test_kills_while_the_log_goes_round(make_stage):
    stage = make_stage(SEED + 1, size="24MiB", memory="8MiB")
    for number in range(KILLS // 2):
        kill_round(stage, must_keep=False)
        stage.check(number)
        if number % 20 == 19:
            say("round and round:", number + 1, "kills,", stage.outrigger.metric("outrigger_store_reclaimed_segments_total"), "reclaimed", stage.world.seen, "right answers")


# ---- damage ----


class File:
    """A store's file, as whoever damages it sees it."""

    def __init__(self, path, chance):
        self.path, self.chance = path / "outrigger.store", chance
        image = self.path.read_bytes()
        self.headers = [at for at in range(FIRST_SEGMENT, len(image), UNIT) if image[at : at + 4] == b"ORRc"]
        block = bytes(64 << 10)
        self.used = [at for at in range(FIRST_SEGMENT, len(image), len(block)) if image[at : at + len(block)] != block]

    def somewhere(self):
        """In what is used; half of the time where a record, a footer or a trailer begins."""
        if self.chance.random() < 0.5:
            return self.chance.choice(self.headers) + self.chance.randrange(UNIT)
        return self.chance.choice(self.used) + self.chance.randrange(64 << 10)

    def flip(self, count):
        with open(self.path, "r+b", buffering=0) as file:
            for _ in range(count):
                at = self.somewhere()
                byte = os.pread(file.fileno(), 1, at)
                if byte:
                    os.pwrite(file.fileno(), bytes([byte[0] ^ 1 << self.chance.randrange(8)]), at)

    def truncate(self):
        os.truncate(self.path, self.somewhere())


def damage_round(stage, flips, is_cut, is_live):
    """Everything is written, damaged, and read again. `is_live`: damaged while it serves, with a memory that holds a part of it."""
    world, outrigger = stage.world, stage.outrigger
    world.settle(outrigger)
    actors = Actors(world, outrigger) if is_live else None
    if not is_live:
        kill_family(outrigger)
    file = File(stage.path, world.chance)
    world.damaged()
    file.flip(flips)
    if is_cut:
        file.truncate()
    if is_live:
        actors.await_actions(100)
        actors.end()
        world.damaged()
    else:
        stage.restart_with(lambda: None)
    asked = world.asked
    world.read_back(outrigger)
    stage.gone += world.asked - asked
    world.read_back(outrigger)


def test_flipped_bits_and_truncated_files_give_no_wrong_byte(make_stage):
    stage = make_stage(SEED + 2, size="24MiB", memory="4MiB")
    rounds = max(2, FLIPS // 500)
    for number in range(rounds):
        damage_round(stage, FLIPS // rounds, is_cut=number % 5 == 4, is_live=number % 2 == 1)
        stage.check(number)
        if number % 20 == 19:
            say("damage:", (number + 1) * (FLIPS // rounds), "flips,", stage.gone, "gone,", stage.world.seen, "right answers")
    assert stage.gone > 0
    assert "; starting " not in stage.outrigger.errors(), "a process has crashed: " + stage.outrigger.errors()
