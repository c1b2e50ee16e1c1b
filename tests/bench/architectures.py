#!/usr/bin/python3
"""The Flash paper's experiments (Pai, Druschel, Zwaenepoel 1999, §6) on this server: the same binary and cache as AMPED (helpers), SPED (blocking disk calls in
the loop), MT (threads) and MP (processes), on a disk that is held back; and AMPED with one of its caches switched off after the other.

One server runs at a time, the others are stopped. They take turns, in each round in the other order; what is compared is compared within a round, so that what
changes on the machine meanwhile changes both. --report puts the figures and plots of what was measured into docs/ARCHITECTURES.md."""
import json
import pathlib
import re
import shutil
import sys
import tempfile
from typing import Callable, NamedTuple

import architectures_page as page
from limits import Limits, Unable
from measurement import parse, parser_with_limits, workplace
from servers import ROOT, Origin, Peer, Refused, Server, fill, group, listed, load

OUTRIGGER = Peer("architectures/outrigger.yaml", [str(ROOT / "build" / "outrigger"), "-c", "{file}"])
MEMORY_MIB = 32  # more than what the log asks for, 19; and a process for each MiB of it
OBJECT_BYTES = 16384
OBJECTS_IN_MEMORY = MEMORY_MIB * 2**20 // OBJECT_BYTES
OBJECTS_ON_DISK = 4 * OBJECTS_IN_MEMORY
LOG = ROOT / "tests" / "data" / "epa-http.txt"
LOGGED_MAX_BYTES = 256 * 1024  # what the smallest cache, a process's, may hold
LOG_LINE = re.compile(r'"GET (/[!-~]*)(?: HTTP/1.0)?" 200 (\d+)$')
CONNECTIONS, MOST_CONNECTIONS = 16, 512
READ_DELAY_MS = 2  # of a disk; how many reads it does in that time is another thing
CACHED_WARM_UP = 0.3  # seconds
SMALL_SIZES = [(f"{kib} KiB", kib * 1024) for kib in (1, 4, 16, 64)]
SMALL_OBJECTS = 64  # of each size, so that those who ask at the same time seldom ask for the same


class Mode(NamedTuple):
    concurrency: str
    workers: int = 1
    caches: int = 1  # each to be filled by a connection of its own
    most: int = 10**6  # connections
    without: str = "nothing"

    def lines(self):
        return f"concurrency: {self.concurrency}\nworkers: {self.workers}\nwithout: {self.without}"


def modes(connections):
    """A thread, or a process, for each connection, as far as memory goes: a process needs 1 MiB of cache."""
    processes = min(connections, MEMORY_MIB)
    return {"AMPED": Mode("amped"), "SPED": Mode("sped"), "MT": Mode("mt", connections), "MP": Mode("mp", processes, processes, processes)}


def logged_paths():
    """The log's successful GETs, each with its size in the path, as the origin wants it. Queries are left out: they were not cached; so is what is too large
    for the smallest cache."""
    for line in LOG.read_text(encoding="latin-1").splitlines():
        found = LOG_LINE.search(line)
        if found and "?" not in found[1] and int(found[2]) <= LOGGED_MAX_BYTES:
            yield f"/s/{found[2]}{found[1].split('#')[0]}"


def logged(options):
    return ["--list", str(options.log), "--order", "once"]


def numbered(objects, size=OBJECT_BYTES):
    return ["--path", f"/s/{size}/%u", "--objects", str(objects), "--order", "once"]


class Stage(NamedTuple):
    """Servers that are filled once, for several experiments."""

    servers: dict  # name: Mode
    fills: Callable  # options -> what is stored: words for load() but for group and connections
    size: Callable  # Mode -> of the cache directory
    delay_ms: int  # of a read
    in_memory: bool = False  # the cache directory: reading it takes processor time, and nothing else


FEW, MANY = [
    Stage(modes(most), lambda options: [logged(options), numbered(OBJECTS_ON_DISK)], lambda mode: f"{2 + mode.caches // 4}GiB", READ_DELAY_MS)
    for most in (CONNECTIONS, MOST_CONNECTIONS)
]
PARTS = Stage(
    {
        "all caches": Mode("amped"),
        **{f"no {part}": Mode("amped", without=part) for part in ("index", "header", "pages")},
        "none of the three": Mode("amped", without="all"),
    },
    lambda options: [numbered(SMALL_OBJECTS, size) for _, size in SMALL_SIZES],
    lambda mode: "16MiB", 0, in_memory=True,
)


class Experiment(NamedTuple):
    name: str
    stage: Stage
    steps: list  # (label, value)
    groups: Callable  # (value, options) -> what load() is to run
    is_bound: Callable = lambda value: False  # by the disk, which is held back
    before: Callable = lambda value, options: None  # what is asked for once before, since memory holds it: words for load() but for group and connections
    is_of_connections: bool = False  # the steps' values
    rounds: int = 10**6  # at most


def popular(objects, connections):
    return group("load", connections, f"/s/{OBJECT_BYTES}/%u", objects, "zipf=0.8")


EXPERIMENTS = [
    Experiment(
        "file-size", FEW, [(f"{kib} KiB", kib * 1024) for kib in (1, 4, 16, 64, 256)],
        lambda size, options: group("load", CONNECTIONS, f"/s/{size}/one"),
    ),
    Experiment(
        "replay", FEW, [("EPA-HTTP", None)], lambda _, options: listed("load", CONNECTIONS, options.log), before=lambda _, options: logged(options),
    ),
    Experiment(
        "data-set", FEW, [(f"{ratio:g}", int(ratio * OBJECTS_IN_MEMORY)) for ratio in (0.25, 0.5, 0.75, 1.5, 2, 4)],
        lambda objects, options: popular(objects, CONNECTIONS), lambda objects: objects > OBJECTS_IN_MEMORY,
        before=lambda objects, options: numbered(objects) if objects <= OBJECTS_IN_MEMORY else None,
    ),
    Experiment(
        "connections", MANY, [(str(n), n) for n in (16, 32, 64, 128, 256, 512)],
        lambda connections, options: popular(2 * OBJECTS_IN_MEMORY, connections), lambda connections: True, is_of_connections=True,
    ),
    Experiment(
        "breakdown", PARTS, SMALL_SIZES, lambda size, options: group("load", CONNECTIONS, f"/s/{size}/%u", SMALL_OBJECTS, "uniform"), rounds=4,
    ),
]


def say(*words):
    print(*words, file=sys.stderr, flush=True)


class Variant:
    """A server of one kind, filled with what its experiments ask for; it runs while it is measured."""

    def __init__(self, name, stage, mode, top, origin, options):
        self.name, self.stage, self.mode, self.origin, self.options, self.server = name, stage, mode, origin, options, None
        directory = f"{mode.concurrency}-{mode.workers}-{mode.without}"
        self.place = (pathlib.Path(tempfile.mkdtemp(prefix="architectures-", dir="/dev/shm")) if stage.in_memory else top) / directory
        self.place.parent.chmod(0o755)
        self.limits = Limits(directory, top, options.memory * 10**6)
        try:
            values = {"lines": mode.lines(), "memory": f"{MEMORY_MIB}MiB", "size": stage.size(mode), "delay": f"{stage.delay_ms}ms"}
            self.server = Server(self.place, OUTRIGGER, enter=self.limits.enter, is_first=False, origin=origin.port, **values)
            for words in stage.fills(options):
                fill(self.server, origin, self.by_each_cache(words))
            self.limits.drop_page_cache()
            self.server.come_first()
            self.server.pause()
        except BaseException:
            self.stop()
            raise

    def by_each_cache(self, words):
        connections = "1" if self.mode.caches > 1 else "4"
        return [["--group", f"cache {n}", "--connections", connections, *words] for n in range(self.mode.caches)]

    def measure(self, experiment, value, seed):
        groups, is_bound = experiment.groups(value, self.options), experiment.is_bound(value)
        self.server.resume()
        try:
            before = experiment.before(value, self.options)
            if before:
                load(self.server, *self.by_each_cache(before))
            self.limits.throttle(self.options.reads if is_bound else 0)
            load(self.server, groups, seconds=self.options.warm_up if is_bound else CACHED_WARM_UP, seed=seed)
            asked = self.origin.asked()
            ran = load(self.server, groups, seconds=self.options.seconds, seed=seed + 1000)
            ran["fetched"] = self.origin.asked() - asked
            ran["memory"] = self.limits.memory_used()
        finally:
            self.limits.throttle(0)
            self.server.pause()
        return {name: of(ran) for name, (_, of) in page.FIGURES.items()}

    def stop(self):
        if self.server:
            self.server.stop()
        self.limits.remove()
        shutil.rmtree(self.place.parent if self.stage.in_memory else self.place, ignore_errors=True)  # the next stage's servers may go by the same name


def start_variants(variants, stage, top, origin, options, missing):
    """In `variants`, one after the other."""
    for name, mode in stage.servers.items():
        try:
            variants.append(Variant(name, stage, mode, top, origin, options))
            say(f"{name} is filled")
        except Refused as refusal:
            missing[name] = str(refusal)
            say(f"{name}: skipped: {refusal}")


def run_experiment(experiment, variants, options, missing):
    """{variant: [a list of rounds a step: {figure: value}, or None: it failed, or is not for so many connections]}"""
    result = {variant.name: [] for variant in variants}
    for label, value in experiment.steps:
        for of in result.values():
            of.append([])
        for number in range(min(options.rounds, experiment.rounds)):
            for variant in variants if number % 2 == 0 else variants[::-1]:
                measured = None
                try:
                    if not (experiment.is_of_connections and value > variant.mode.most):
                        measured = variant.measure(experiment, value, number)
                except Refused as refusal:
                    missing[f"{variant.name}, {experiment.name} {label}, round {number}"] = str(refusal)
                result[variant.name][-1].append(measured)
        words = [f"{name} {page.median(of[-1], 'rate')}/s p99 {page.median(of[-1], 'p99')} ms" for name, of in result.items()]
        say(f"{experiment.name} {label}: " + ", ".join(words))
    return result


def run(top, options, missing):
    results, origin = {}, Origin(top / "origin")
    chosen = [experiment for experiment in EXPERIMENTS if experiment.name in options.experiments.split(",")]
    try:
        for stage in (FEW, MANY, PARTS):
            of_these = [experiment for experiment in chosen if experiment.stage is stage]
            if not of_these:
                continue
            variants = []
            try:
                start_variants(variants, stage, top, origin, options, missing)
                for experiment in of_these if variants else []:
                    results[experiment.name] = run_experiment(experiment, variants, options, missing)
            finally:
                for variant in variants:
                    variant.stop()
    finally:
        origin.stop()
    return results


def main():
    words = parser_with_limits(__doc__, seconds=1.5, warm_up=1.5)
    words.set_defaults(rounds=9, memory=600)  # 512 threads take more than the half
    words.add_argument("--experiments", default=",".join(experiment.name for experiment in EXPERIMENTS), help="some of them, with commas")
    words.add_argument("--report", action="store_true", help="put into docs/ARCHITECTURES.md")
    options = parse(words)
    if options.quick:
        options.rounds, options.seconds, options.warm_up = 1, 0.5, 0.5
    missing = {}
    try:
        with workplace("architectures-", options.directory) as top:
            options.log = top / "log"
            options.log.write_text("".join(path + "\n" for path in logged_paths()))
            results = run(top, options, missing)
    except Unable as reason:
        say(f"architectures: {reason}")
        return 2
    labels = {experiment.name: [label for label, _ in experiment.steps] for experiment in EXPERIMENTS}
    bound = {experiment.name: [experiment.is_bound(value) for _, value in experiment.steps] for experiment in EXPERIMENTS}
    for name, result in results.items():
        print(page.text_of(name, labels[name], bound[name], result))
        if options.report:
            page.put(name, labels[name], bound[name], result, options)
    for name, reason in missing.items():
        print(f"{name} is missing: {reason}")
    if options.json:
        options.json.write_text(json.dumps({"results": results, "missing": missing}, indent=1))
    return 0 if results else 2


if __name__ == "__main__":
    sys.exit(main())
