#!/usr/bin/python3
"""The Flash paper's experiments (Pai, Druschel, Zwaenepoel 1999, §6) on this server: the same binary and cache as AMPED (helpers), SPED (blocking disk calls in
the loop), MT (threads) and MP (processes), on a disk that is held back. Servers run at once, one under load at a time; rounds are interleaved, figures are
medians. --report writes docs/ARCHITECTURES.md and its plots."""
import json
import re
import statistics
import sys
from typing import Callable, NamedTuple

import plot
from limits import Limits, Unable
from measurement import parse, parser_with_limits, workplace
from servers import ROOT, Origin, Peer, Refused, Server, fill, group, listed, load

OUTRIGGER = Peer("architectures/outrigger.yaml", [str(ROOT / "build" / "outrigger"), "-c", "{file}"])
MODES = {
    "AMPED": "concurrency: amped\nworkers: 1",
    "SPED": "concurrency: sped\nworkers: 1",
    "MT": "concurrency: mt",
    "MP": "concurrency: mp",
}
WITHOUT = {
    "all caches": "concurrency: amped\nworkers: 1",
    "no index": "concurrency: amped\nworkers: 1\nwithout: index",
    "no header blocks": "concurrency: amped\nworkers: 1\nwithout: headers",
    "no pages": "concurrency: amped\nworkers: 1\nwithout: pages",
}
MEMORY_MIB = 24  # less than what the log asks for, 38
OBJECT_BYTES = 16384
OBJECTS_IN_MEMORY = MEMORY_MIB * 2**20 // OBJECT_BYTES
PATTERN = f"/s/{OBJECT_BYTES}/%u"
LOG = ROOT / "tests" / "data" / "epa-http.txt"
LOG_LINE = re.compile(r'"GET (/[!-~]*)(?: HTTP/1.0)?" 200 (\d+)$')
CONNECTIONS = 64


def logged_paths():
    """The log's successful GETs, each with its size in the path, as the origin wants it. Queries are left out: they were not cached."""
    for line in LOG.read_text(encoding="latin-1").splitlines():
        found = LOG_LINE.search(line)
        if found and "?" not in found[1]:
            yield f"/s/{found[2]}{found[1].split('#')[0]}"


class Experiment(NamedTuple):
    name: str
    title: str
    x_title: str
    steps: list  # (label, value)
    groups: Callable  # (value, options) -> what load() is to run
    disk: bool  # held back
    found: str  # by the paper
    servers: dict = MODES
    shape: Callable = plot.lines


def popular(objects, connections):
    return group("load", connections, PATTERN, objects, "zipf=0.8")


EXPERIMENTS = [
    Experiment(
        "file-size", "One cached response", "size", [(f"{kib} KiB", kib * 1024) for kib in (1, 4, 16, 64, 256, 1024)],
        lambda size, options: group("load", CONNECTIONS, f"/s/{size}/one"), False,
        "On cached work the architecture makes little difference; SPED is a little ahead of AMPED, which tests residency, and both of MT and MP.",
    ),
    Experiment(
        "replay", "A day of a real server's log", "", [("EPA-HTTP", None)],
        lambda _, options: listed("load", CONNECTIONS, options.log), True,
        "AMPED is the fastest on both traces; SPED does well on the one that fits memory, and worst on the one that does not.", shape=plot.bars,
    ),
    Experiment(
        "data-set", "Data sets below and above memory", "data set, in multiples of the cache's memory",
        [(f"{ratio:g}", int(ratio * OBJECTS_IN_MEMORY)) for ratio in (0.25, 0.5, 0.75, 1.5, 2, 4)],
        lambda objects, options: popular(objects, CONNECTIONS), True,
        "While the data fits, SPED leads and AMPED is next to it; beyond that SPED falls steeply, and AMPED equals or beats MT and MP.",
    ),
    Experiment(
        "connections", "Long-lived connections", "connections", [(str(n), n) for n in (16, 32, 64, 128, 256, 512)],
        lambda connections, options: popular(2 * OBJECTS_IN_MEMORY, connections), True,
        "AMPED, SPED and MT keep their speed with hundreds of connections, MP loses it to the memory and switching of its processes.",
    ),
    Experiment(
        "caches", "Each cache switched off in turn", "", [("1 KiB", 1024), ("16 KiB", 16384), ("64 KiB", 65536)],
        lambda size, options: group("load", CONNECTIONS, f"/s/{size}/one"), False,
        "The pathname cache is worth most, then mapped files; response headers least. Without any of them small files are served about half as fast.",
        servers=WITHOUT, shape=plot.bars,
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


class Variant:
    """A server of one kind, filled with what its experiments ask for."""

    def __init__(self, name, lines, top, origin, options):
        self.name, self.origin, self.options, self.server = name, origin, options, None
        place = re.sub(r"\W", "-", name)
        self.limits = Limits(place, top, options.memory * 10**6)
        try:
            self.server = Server(top / place, OUTRIGGER, enter=self.limits.enter, origin=origin.port, lines=lines, memory=f"{MEMORY_MIB}MiB")
            fill(self.server, origin, [group("fill", 8, PATTERN, options.objects, "once")])
            fill(self.server, origin, [listed("log", 8, options.log, "once")])
            self.limits.drop_page_cache()
        except BaseException:
            self.stop()
            raise

    def measure(self, experiment, value, seed):
        self.limits.throttle(self.options.reads if experiment.disk else 0)
        groups = experiment.groups(value, self.options)
        load(self.server, groups, seconds=self.options.warm_up if experiment.disk else 0.5, seed=seed)
        asked = self.origin.asked()
        ran = load(self.server, groups, seconds=self.options.seconds, seed=seed + 1000)
        ran["fetched"] = self.origin.asked() - asked
        return {name: of(ran) for name, (_, of) in FIGURES.items()}

    def stop(self):
        if self.server:
            self.server.stop()
        self.limits.remove()


def start_variants(servers, top, origin, options, missing):
    variants = []
    for name, lines in servers.items():
        try:
            variants.append(Variant(name, lines, top, origin, options))
        except Refused as refusal:
            missing[name] = str(refusal)
            say(f"{name}: skipped: {refusal}")
    return variants


def run_experiment(experiment, variants, options, missing):
    """{variant: {figure: [a median a step; None: it failed]}}"""
    result = {variant.name: {figure: [] for figure in FIGURES} for variant in variants}
    for label, value in experiment.steps:
        rounds = {variant.name: [] for variant in variants}
        for number in range(options.rounds):
            for variant in variants:
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
        for servers in (MODES, WITHOUT):
            of_these = [experiment for experiment in chosen if experiment.servers is servers]
            if not of_these:
                continue
            variants = start_variants(servers, top, origin, options, missing)
            try:
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
connection that is being served. Each has {memory} MB in all, {cache} MiB of them cache, on one core, and {reads:,} disk reads a second; figures are medians of
{rounds} rounds. What counts is how the lines of a plot lie to each other.

"""


def write_report(results, options):
    directory = ROOT / "docs" / "architectures"
    directory.mkdir(exist_ok=True)
    introduction = INTRODUCTION.format(memory=options.memory, cache=MEMORY_MIB, reads=options.reads, rounds=options.rounds)
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
