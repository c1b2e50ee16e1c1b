#!/usr/bin/python3
"""The Flash paper's experiments (Pai, Druschel, Zwaenepoel 1999, §6) on this server: the same binary and cache as AMPED (helpers), SPED (blocking disk calls in
the loop), MT (threads) and MP (processes), on a disk that is held back. One server runs at a time, the others are stopped; rounds are interleaved, figures are
medians. --report writes docs/ARCHITECTURES.md and its plots."""
import json
import re
import shutil
import statistics
import sys
from typing import Callable, NamedTuple

import plot
from limits import Limits, Unable
from measurement import parse, parser_with_limits, workplace
from servers import ROOT, Origin, Peer, Refused, Server, fill, group, listed, load

OUTRIGGER = Peer("architectures/outrigger.yaml", [str(ROOT / "build" / "outrigger"), "-c", "{file}"])


class Mode(NamedTuple):
    concurrency: str
    workers: int = 1
    caches: int = 1  # each to be filled by a connection of its own
    most: int = 10**6  # connections

    def lines(self):
        return f"concurrency: {self.concurrency}\nworkers: {self.workers}"


def modes(connections):
    """A thread, or a process, for each connection, as far as memory goes: a process needs 1 MiB of cache."""
    processes = min(connections, MEMORY_MIB)
    return {"AMPED": Mode("amped"), "SPED": Mode("sped"), "MT": Mode("mt", connections), "MP": Mode("mp", processes, processes, processes)}


MEMORY_MIB = 32  # more than what the log asks for, 19; and a process for each MiB of it
OBJECT_BYTES = 16384
OBJECTS_IN_MEMORY = MEMORY_MIB * 2**20 // OBJECT_BYTES
PATTERN = f"/s/{OBJECT_BYTES}/%u"
LOG = ROOT / "tests" / "data" / "epa-http.txt"
LOGGED_MAX_BYTES = 256 * 1024  # what the smallest cache, a process's, may hold
LOG_LINE = re.compile(r'"GET (/[!-~]*)(?: HTTP/1.0)?" 200 (\d+)$')
CONNECTIONS, MOST_CONNECTIONS = 16, 512
READ_DELAY_MS = 2  # of a disk; how many reads it does in that time is another thing


def logged_paths():
    """The log's successful GETs, each with its size in the path, as the origin wants it. Queries are left out: they were not cached; so is what is too large
    for the smallest cache."""
    for line in LOG.read_text(encoding="latin-1").splitlines():
        found = LOG_LINE.search(line)
        if found and "?" not in found[1] and int(found[2]) <= LOGGED_MAX_BYTES:
            yield f"/s/{found[2]}{found[1].split('#')[0]}"


class Experiment(NamedTuple):
    name: str
    title: str
    x_title: str
    steps: list  # (label, value)
    groups: Callable  # (value, options) -> what load() is to run
    disk: bool  # held back
    found: str  # by the paper
    shape: Callable = plot.lines
    connections: int = CONNECTIONS  # at most
    before: Callable = lambda value, options: None  # what is asked for once before, since memory holds it: words for load() but for group and connections


def popular(objects, connections):
    return group("load", connections, PATTERN, objects, "zipf=0.8")


EXPERIMENTS = [
    Experiment(
        "file-size", "One cached response", "size", [(f"{kib} KiB", kib * 1024) for kib in (1, 4, 16, 64, 256)],
        lambda size, options: group("load", CONNECTIONS, f"/s/{size}/one"), False,
        "On cached work the architecture makes little difference; SPED is a little ahead of AMPED, which tests residency, and both of MT and MP.",
    ),
    Experiment(
        "replay", "A day of a real server's log, which fits memory", "", [("EPA-HTTP", None)],
        lambda _, options: listed("load", CONNECTIONS, options.log), True,
        "AMPED is the fastest on both traces; SPED does well on the one that fits memory, and worst on the one that does not.", shape=plot.bars,
        before=lambda _, options: logged(options),
    ),
    Experiment(
        "data-set", "Data sets below and above memory", "data set, in multiples of the cache's memory",
        [(f"{ratio:g}", int(ratio * OBJECTS_IN_MEMORY)) for ratio in (0.25, 0.5, 0.75, 1.5, 2, 4)],
        lambda objects, options: popular(objects, CONNECTIONS), True,
        "While the data fits, SPED leads and AMPED is next to it; beyond that SPED falls steeply, and AMPED equals or beats MT and MP.",
        before=lambda objects, options: numbered(objects) if objects <= OBJECTS_IN_MEMORY else None,
    ),
    Experiment(
        "connections", "Long-lived connections", "connections", [(str(n), n) for n in (16, 32, 64, 128, 256, 512)],
        lambda connections, options: popular(2 * OBJECTS_IN_MEMORY, connections), True,
        "AMPED, SPED and MT keep their speed with hundreds of connections, MP loses it to the memory and switching of its processes.",
        connections=MOST_CONNECTIONS,
    ),
]
FIGURES = {  # (title, of one measurement)
    "rate": ("requests/s", lambda ran: ran["groups"]["load"]["rate"]),
    "p99": ("p99, ms", lambda ran: ran["groups"]["load"]["latency_us"]["p99"] / 1000),
    "cpu": ("CPU, µs a request", lambda ran: ran["cpu_seconds"] * 1e6 / max(1, ran["groups"]["load"]["requests"])),
    "misses": ("% asked of the origin", lambda ran: 100 * ran["fetched"] / max(1, ran["groups"]["load"]["requests"])),
}
PLOTTED = ("rate", "p99")


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def logged(options):
    return ["--list", str(options.log), "--order", "once"]


def numbered(objects):
    return ["--path", PATTERN, "--objects", str(objects), "--order", "once"]


class Variant:
    """A server of one kind, filled with what its experiments ask for; it runs while it is measured."""

    def __init__(self, name, mode, top, origin, options):
        self.name, self.mode, self.origin, self.options, self.server = name, mode, origin, options, None
        self.place = top / f"{name}-{mode.workers}"
        self.limits = Limits(self.place.name, top, options.memory * 10**6)
        try:
            values = {"lines": mode.lines(), "memory": f"{MEMORY_MIB}MiB", "size": f"{2 + mode.caches // 4}GiB", "delay": f"{READ_DELAY_MS}ms"}
            self.server = Server(self.place, OUTRIGGER, enter=self.limits.enter, is_first=False, origin=origin.port, **values)
            fill(self.server, origin, self.by_each_cache(logged(options)))
            fill(self.server, origin, self.by_each_cache(numbered(options.objects)))
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
        groups = experiment.groups(value, self.options)
        self.server.resume()
        try:
            before = experiment.before(value, self.options)
            if before:
                load(self.server, *self.by_each_cache(before))
            self.limits.throttle(self.options.reads if experiment.disk else 0)
            load(self.server, groups, seconds=self.options.warm_up if experiment.disk else 0.5, seed=seed)
            asked = self.origin.asked()
            ran = load(self.server, groups, seconds=self.options.seconds, seed=seed + 1000)
            ran["fetched"] = self.origin.asked() - asked
        finally:
            self.limits.throttle(0)
            self.server.pause()
        return {name: of(ran) for name, (_, of) in FIGURES.items()}

    def stop(self):
        if self.server:
            self.server.stop()
        self.limits.remove()
        shutil.rmtree(self.place, ignore_errors=True)  # the next experiment's servers may go by the same name


def start_variants(variants, servers, top, origin, options, missing):
    """In `variants`, one after the other."""
    for name, mode in servers.items():
        try:
            variants.append(Variant(name, mode, top, origin, options))
            say(f"{name} is filled")
        except Refused as refusal:
            missing[name] = str(refusal)
            say(f"{name}: skipped: {refusal}")


def run_experiment(experiment, variants, options, missing):
    """{variant: {figure: [a median a step; None: it failed]}}"""
    result = {variant.name: {figure: [] for figure in FIGURES} for variant in variants}
    for label, value in experiment.steps:
        rounds = {variant.name: [] for variant in variants}
        for number in range(options.rounds):
            for variant in variants:
                if isinstance(value, int) and experiment.connections > CONNECTIONS and value > variant.mode.most:
                    continue
                try:
                    rounds[variant.name].append(variant.measure(experiment, value, number))
                except Refused as refusal:
                    missing[f"{variant.name}, {experiment.name} {label}"] = str(refusal)
        for name, measured in rounds.items():
            for figure in FIGURES:
                result[name][figure].append(statistics.median(one[figure] for one in measured) if measured else None)
        words = [f"{name} {plot.number(of['rate'][-1])}/s p99 {plot.number(of['p99'][-1])} ms" for name, of in result.items()]
        say(f"{experiment.name} {label}: " + ", ".join(words))
    return result


def run(top, options, missing):
    results, origin = {}, Origin(top / "origin")
    chosen = [experiment for experiment in EXPERIMENTS if experiment.name in options.experiments.split(",")]
    try:
        for connections in (CONNECTIONS, MOST_CONNECTIONS):
            of_these = [experiment for experiment in chosen if experiment.connections == connections]
            if not of_these:
                continue
            variants = []
            try:
                start_variants(variants, modes(connections), top, origin, options, missing)
                for experiment in of_these if variants else []:
                    results[experiment.name] = run_experiment(experiment, variants, options, missing)
            finally:
                for variant in variants:
                    variant.stop()
    finally:
        origin.stop()
    return results


def table(experiment, result, figure):
    out = [f"| {FIGURES[figure][0]} | " + " | ".join(label for label, _ in experiment.steps) + " |", "|---|" + "---|" * len(experiment.steps)]
    out += [f"| {name} | " + " | ".join(plot.number(value) for value in of[figure]) + " |" for name, of in result.items()]
    return "\n".join(out)


def page(results, directory):
    """The figures as Markdown, with the plots beside them in `directory`."""
    out = []
    for experiment in EXPERIMENTS:
        if experiment.name not in results:
            continue
        result = results[experiment.name]
        out += [f"## {experiment.title}", f"The paper: {experiment.found}"]
        for figure, (title, _) in FIGURES.items():
            if directory and figure in PLOTTED:
                drawn = [plot.Series(name, of[figure]) for name, of in result.items()]
                file = directory / f"{experiment.name}-{figure}.svg"
                file.write_text(experiment.shape(f"{experiment.title}: {title}", experiment.x_title, [label for label, _ in experiment.steps], title, drawn))
                out.append(f"![{title}]({directory.name}/{file.name})")
            if figure != "misses" or any((value or 0) >= 0.1 for of in result.values() for value in of[figure]):
                out.append(table(experiment, result, figure))
    return "\n\n".join(out) + "\n"


INTRODUCTION = """# Architectures side by side

Written by `make bench-architectures REPORT=1`. The experiments of *Flash: An efficient and portable Web server* (Pai, Druschel, Zwaenepoel, USENIX 1999, §6),
on one binary with one cache: AMPED has helpers that read the disk for the loop, SPED reads it in the loop, MT and MP have a thread or a process for each
connection that is being served. Each has {memory} MB in all, {cache} MiB of them cache, on one core, and a disk that takes {delay} ms for a read and does {reads:,}
of them a second; figures are medians of {rounds} rounds of {seconds:g} s. What counts is how the lines of a plot lie to each other.

- MP's processes share nothing: each has its part of the {cache} MiB, at least one, so that there are at most {cache} of them, and all of the data on a part of the
  disk of its own.
- What is written goes through a thread of its own in SPED, MT and MP as well. Nothing is written while this is measured.
- Where *% asked of the origin* is not 0, the disk had more waiting for it than it could take in time, and the origin was asked in its place: requests/s there are more
  than the disk's. A measurement that lost a connection is left out (–).
- The paper's experiment that switches one cache off after the other is not here: key, head and body of a response are one record here, found by one probe.

"""


def write_report(results, options):
    directory = ROOT / "docs" / "architectures"
    directory.mkdir(exist_ok=True)
    introduction = INTRODUCTION.format(memory=options.memory, cache=MEMORY_MIB, reads=options.reads, rounds=options.rounds, seconds=options.seconds, delay=READ_DELAY_MS)
    (ROOT / "docs" / "ARCHITECTURES.md").write_text(introduction + page(results, directory))


def main():
    words = parser_with_limits(__doc__, seconds=4, warm_up=4)
    words.add_argument("--experiments", default=",".join(experiment.name for experiment in EXPERIMENTS))
    words.add_argument("--report", action="store_true", help="write docs/ARCHITECTURES.md")
    options = parse(words)
    if options.quick:
        options.rounds, options.seconds, options.warm_up = 1, 0.5, 0.5
    options.objects = max(value for experiment in EXPERIMENTS if experiment.name == "data-set" for _, value in experiment.steps)
    missing = {}
    try:
        with workplace("architectures-", options.directory) as top:
            options.log = top / "log"
            options.log.write_text("".join(path + "\n" for path in logged_paths()))
            results = run(top, options, missing)
    except Unable as reason:
        say(f"architectures: {reason}")
        return 2
    if options.report:
        write_report(results, options)
    print(page(results, None))
    for name, reason in missing.items():
        print(f"{name} is missing: {reason}")
    if options.json:
        options.json.write_text(json.dumps({"results": results, "missing": missing}, indent=1))
    return 0 if results else 2


if __name__ == "__main__":
    sys.exit(main())
