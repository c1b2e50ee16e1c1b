#!/usr/bin/python3
"""Speed against the peers, the cases of DESIGN §11 in one run: server pinned to one core, client and origin to the other, rounds interleaved, medians, CPU time
of all of a server's processes a request. One server runs at a time, the others are stopped. Figures are ratios to trust, not absolutes: the machines are shared.

    tests/bench/bench.py [--cases hit1k,…] [--peers nginx,haproxy] [--seconds 2] [--rounds 3] [--quick] [--report]"""
import json
import pathlib
import subprocess
import sys
import time

import memory
import report
from cases import BROWSER, CASES, CONNECTIONS, CONTESTANTS, HIT, MEMORY_CASES, NEEDED
from figures import median_of
from measurement import machine, parse, parser, workplace
from place import ZIPF_OBJECTS, Place
from servers import ROOT, Refused, Server, allow_descriptors, complaint, fill, group, load, load_command

MISSED_OF_HITS = 0.001  # at most so many of those asked for may be fetched, and
FETCHED_AT_FIRST = 128
ONCE = ["--connections", "1", "--objects", "1", "--order", "once"]  # whatever the words before say
RELEASE_SECONDS, RELEASE_SECONDS_QUICK = 1.0, 0.3  # a server lets go what an idle connection needs no more


def say(*words):
    print(*words, file=sys.stderr, flush=True)


class Entry:
    """A contestant that runs; stopped (SIGSTOP) while others are measured."""

    def __init__(self, contestant, directory, place):
        self.contestant, self.server = contestant, Server(directory, contestant.peer, **place.values())

    def load(self, words, **how):
        if self.server.process.poll() is not None:
            raise Refused("it has ended: " + complaint((self.server.directory / "output").read_text(errors="replace")))
        return load(self.server, words, fields=BROWSER, check=not self.contestant.is_limit, **how)

    def stop(self):
        self.server.stop()


def check_fetched(case, fetched, requests):
    """That hits were hits, and nothing else was."""
    if case.kind == HIT and fetched > MISSED_OF_HITS * requests + FETCHED_AT_FIRST:
        raise Refused(f"these were no hits: {fetched} of {requests} were fetched")
    if case.kind != HIT and fetched < requests:
        raise Refused(f"these were hits: of {requests} only {fetched} were fetched")


def prepare(case, entry, place):
    """Everything that is to be a hit is stored."""
    entry.server.resume()
    try:
        words = case.before(place)
        if words:
            fill(entry.server, place.origin, [words], fields=BROWSER, check=not entry.contestant.is_limit)
        entry.load([*case.load(place, f"before-{case.name}"), *ONCE])
    finally:
        entry.server.pause()


def measure(case, entry, place, options, number):
    entry.server.resume()
    try:
        asked = place.origin.asked()
        words = case.load(place, f"{case.name}-{number}-{int(time.time())}")
        ran = entry.load(words, seconds=options.seconds, warm_up=options.warm_up * case.settle, seed=number + 1)
        of = ran["groups"]["load"]
        check_fetched(case, place.origin.asked() - asked, of["requests"])
        if "--resume" in words and of["resumed"] < 0.9 * of["handshakes"]:
            raise Refused(f"it resumes {of['resumed']} of {of['handshakes']} sessions")
        return {
            "rate": of["rate"],
            "cpu_us": ran["cpu_seconds"] * 1e6 / of["requests"],
            "p50_ms": of["latency_us"]["p50"] / 1000,
            "p99_ms": of["latency_us"]["p99"] / 1000,
            "memory_mb": memory.of_server(entry.server) / 1e6,
            "busy": ran["cpu_seconds"] / ran["seconds"],
            "client_busy": ran["client_cpu_seconds"] / ran["seconds"],
        }
    finally:
        entry.server.pause()


def run_case(case, entries, place, options, skipped):
    """{server: {figure: median}}"""
    rounds = {}

    def attempt(entry, action):
        try:
            return action()
        except Refused as refusal:
            skipped.setdefault(case.name, {})[entry.contestant.name] = str(refusal)
            rounds.pop(entry.contestant.name, None)

    for entry in entries:
        reason = entry.contestant.reason_to_skip(case)
        if reason:
            skipped.setdefault(case.name, {})[entry.contestant.name] = reason
        else:
            attempt(entry, lambda entry=entry: prepare(case, entry, place))
    for number in range(options.rounds):
        for entry in entries:
            if entry.contestant.name not in skipped.get(case.name, {}):
                measured = attempt(entry, lambda entry=entry, number=number: measure(case, entry, place, options, number))
                if measured:
                    rounds.setdefault(entry.contestant.name, []).append(measured)
    return {name: median_of(measured) for name, measured in rounds.items()}


def held(entry, count, secure):
    """Opens connections that stay; the process that holds them."""
    words = group("idle", count, "/s/1024/object") + ["--hold"] + (["--tls"] if secure else [])
    command = load_command(entry.server, words, fields=BROWSER, check=False)
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=allow_descriptors)
    line = process.stdout.readline()
    if not line:
        raise Refused(complaint(process.stderr.read()))
    of = json.loads(line)["groups"]["idle"]
    if of["requests"] != count or of["broken"] or of["not_200"]:
        process.stdin.close()
        raise Refused(f"of {count} connections {of['requests']} were answered, {of['broken']} broken")
    return process


def memory_of_connection(case, entry, place, options):
    secure = ["--tls"] if case.secure else []
    entry.load([*group("load", CONNECTIONS, "/s/1024/object", 20 * CONNECTIONS, "once"), *secure])
    time.sleep(options.release)
    before = memory.of_server(entry.server)
    process = held(entry, options.idle, case.secure)
    try:
        time.sleep(options.release)
        if entry.server.process.poll() is not None:
            raise Refused("it has ended")
        return (memory.of_server(entry.server) - before) / options.idle
    finally:
        process.stdin.close()
        process.wait()


def memory_of_object(case, entry, place, options):
    pattern = f"/unique/{case.name}/%u"
    fill(entry.server, place.origin, [group("some", 8, "/unique/some/%u", 2000, "once")], fields=BROWSER)
    time.sleep(options.release)
    before = memory.of_server(entry.server)
    fill(entry.server, place.origin, [group("all", 8, pattern, options.objects, "once")], fields=BROWSER)
    time.sleep(options.release)
    return (memory.of_server(entry.server) - before) / options.objects - len(place.origin.ask(pattern % options.objects))


def run_memory_case(case, contestants, top, place, options, skipped):
    """Each server is a new one: what it has let go before does not hide what it takes."""
    result = {}
    for contestant in contestants:
        entry = None
        try:
            reason = contestant.reason_to_skip(case)
            if reason:
                raise Refused(reason)
            entry = Entry(contestant, top / f"{contestant.name}-{case.name}", place)
            of = memory_of_object if case.of == "object" else memory_of_connection
            result[contestant.name] = {"bytes": of(case, entry, place, options)}
        except Refused as refusal:
            skipped.setdefault(case.name, {})[contestant.name] = str(refusal)
        finally:
            if entry:
                entry.stop()
    return result


def versions(contestants):
    packages = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Version}\n"], capture_output=True, text=True).stdout
    found = dict(line.split() for line in packages.splitlines() if " " in line.strip())
    return {contestant.name: found[contestant.name] for contestant in contestants if contestant.name in found}


def start(contestants, top, place, results):
    """Those that start. Others are missing, with what they say."""
    entries = []
    for contestant in contestants:
        try:
            entries.append(Entry(contestant, top / contestant.name, place))
            entries[-1].server.pause()
        except (Refused, FileNotFoundError) as refusal:
            results["missing"][contestant.name] = str(refusal)
            say(f"{contestant.name} is missing: {refusal}")
    return entries


def run(top, options, results):
    contestants = [c for c in CONTESTANTS if c.name in NEEDED or c.name in options.peers.split(",")]
    chosen = options.cases.split(",")
    results["versions"] = versions(contestants)
    place, entries = Place(top, options.zipf), []
    try:
        entries = start(contestants, top, place, results)
        for case in [case for case in CASES if case.name in chosen]:
            results["cases"][case.name] = run_case(case, entries, place, options, results["skipped"])
            say(report.line_of(case, results, "cpu_us", "µs of CPU"))
        running = [entry.contestant for entry in entries]
        while entries:
            entries.pop().stop()
        for case in [case for case in MEMORY_CASES if case.name in chosen]:
            results["cases"][case.name] = run_memory_case(case, running, top, place, options, results["skipped"])
            say(report.line_of(case, results, "bytes", "bytes"))
    finally:
        for entry in entries:
            entry.stop()
        place.stop()


def main():
    words = parser(__doc__, seconds=2)
    names = [case.name for case in [*CASES, *MEMORY_CASES]]
    words.add_argument("--cases", default=",".join(names), help=" ".join(names))
    words.add_argument("--peers", default=",".join(c.name for c in CONTESTANTS), help="beside outrigger and the floor")
    words.add_argument("--warm-up", type=float, default=0.5)
    words.add_argument("--idle", type=int, default=10000, help="connections")
    words.add_argument("--objects", type=int, default=50000, help="to be stored for their memory")
    words.add_argument("--directory", default="/dev/shm", help="in memory: of files and caches")
    words.add_argument("--json", type=pathlib.Path, default=ROOT / "build" / "bench" / "results.json")
    words.add_argument("--quick", action="store_true", help="one short round: to see that it works")
    words.add_argument("--report", action="store_true", help="write docs/BENCHMARKS.md")
    options = parse(words)
    unknown = [name for name in options.cases.split(",") if name not in names]
    unknown += [name for name in options.peers.split(",") if name and name not in [c.name for c in CONTESTANTS]]
    if unknown:
        words.error(f"there is no {', '.join(unknown)}; cases: {' '.join(names)}; peers: {' '.join(c.name for c in CONTESTANTS)}")
    options.zipf, options.release = ZIPF_OBJECTS, RELEASE_SECONDS
    if options.quick:
        options.zipf, options.release = ZIPF_OBJECTS // 10, RELEASE_SECONDS_QUICK
        options.rounds, options.seconds, options.warm_up, options.idle, options.objects = 1, 0.3, 0.2, 2000, 10000
    results = {
        "machine": machine(),
        "options": {key: getattr(options, key) for key in ("rounds", "seconds", "idle", "objects", "first")},
        "cases": {},
        "skipped": {},
        "missing": {},
    }
    with workplace("outrigger-bench-", options.directory) as top:
        run(top, options, results)
    print(report.page([results]))
    options.json.write_text(json.dumps(results, indent=1))
    if options.report:
        report.write([results])
    return 0


if __name__ == "__main__":
    sys.exit(main())
