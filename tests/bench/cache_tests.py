#!/usr/bin/python3
"""The public cache tests (https://cache-tests.fyi, npm: http-cache-tests) against Outrigger and its peers: what each passes and fails.

The package is installed below build/, from the registry that npm is set up for. --report writes the table to docs/CACHING.md."""
import argparse
import collections
import json
import shutil
import subprocess
import sys
from typing import NamedTuple

import document
from bench import versions
from figures import table
from measurement import workplace
from servers import CLIENT_CORE, HERE, ROOT, Peer, Process, Refused, Server, complaint, die_with_parent, free_port

VERSION = "0.4.5"
PLACE = ROOT / "build" / "cache-tests"
PACKAGE = PLACE / "node_modules" / "http-cache-tests"
NODE = ["node", "--no-warnings", str(HERE / "cache_tests.mjs"), str(PACKAGE)]
CLIENT_SECONDS_MAX = 300  # a run takes 20
OUTRIGGER = [str(ROOT / "build" / "outrigger"), "-c", "{file}"]
VARNISH = "varnishd -F -j none -n {dir}/work -f {file} -a 127.0.0.1:{port} -s malloc,64m -p default_ttl=0 -p default_grace=0 -p default_keep=3600"


class Cache(NamedTuple):
    name: str
    title: str
    peer: Peer


# The peers as the tests' authors set them up, or as they come.
CACHES = [
    Cache("outrigger", "Outrigger, as it comes", Peer("cache-tests/outrigger.yaml", OUTRIGGER, {"cache": ""})),
    Cache("honouring", "Outrigger with `surrogate_control` and `honour_request_directives`",
          Peer("cache-tests/outrigger.yaml", OUTRIGGER, {"cache": "surrogate_control: true, honour_request_directives: true"})),
    Cache("nginx", "nginx", Peer("cache-tests/nginx.conf", ["nginx", "-c", "{file}"])),
    Cache("varnish", "Varnish", Peer("cache-tests/varnish.vcl", VARNISH.split())),
    Cache("trafficserver", "Traffic Server", Peer("cache-tests/trafficserver", ["traffic_server", "--run-root={dir}/trafficserver/runroot.yaml"])),
    Cache("squid", "Squid", Peer("cache-tests/squid.conf", ["squid", "-N", "-n", "tests{port}", "-f", "{file}"])),
]

PASSED, FAILED, NOT_JUDGED = "passed", "failed", "not judged"
VERDICTS = (PASSED, FAILED, NOT_JUDGED)
KINDS = ("required", "optimal", "check")  # the last ask what a cache does; neither answer is wrong
HEAD = ["", *(f"{kind}: {verdict}" if verdict == PASSED else verdict for kind in KINDS[:2] for verdict in VERDICTS), "check: yes", "no", NOT_JUDGED]


def verdicts(tests):
    """Of one run, by test, as the tests' authors judge: nothing is said where a test that it rests on did not pass, or its own preparation failed."""
    by_id = {test["id"]: test for test in tests}

    def verdict(test):
        if any(name not in by_id or verdict(by_id[name]) != PASSED for name in test["needs"]):
            return NOT_JUDGED
        if test["result"] is True:
            return PASSED
        return NOT_JUDGED if test["result"][0] == "Setup" else FAILED

    return {name: verdict(test) for name, test in by_id.items()}


def usual(rounds):
    """Of several runs: what came of most."""

    def verdict(name):
        found = collections.Counter(run[name] for run in rounds)
        return max((FAILED, NOT_JUDGED, PASSED), key=lambda word: found[word])  # of as many, the first

    return {name: verdict(name) for name in rounds[0]}


def unsteady(rounds):
    return [name for name in rounds[0] if len({run[name] for run in rounds}) > 1]


def counts(tests, of):
    found = collections.Counter((test["kind"], of[test["id"]]) for test in tests)
    return [found[kind, verdict] for kind in KINDS for verdict in VERDICTS]


def install():
    if not shutil.which("npm") or not shutil.which("node"):
        raise Refused("node and npm are needed (Debian's packages nodejs and npm, or any newer ones)")
    PLACE.mkdir(parents=True, exist_ok=True)
    command = ["npm", "install", "--prefix", str(PLACE), "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", f"http-cache-tests@{VERSION}"]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode != 0:
        raise Refused(f"npm: {complaint(ran.stderr)}")


class Origin(Process):
    def __init__(self, directory):
        directory.mkdir()
        port = free_port()
        super().__init__([*NODE, "origin", str(port)], port, CLIENT_CORE, directory)


def ask_all(servers):
    """One run, all caches side by side: most of it is waiting."""
    clients = {
        name: subprocess.Popen([*NODE, "client", f"http://127.0.0.1:{server.port}"], stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        for name, server in servers.items()
    }
    try:
        return {name: json.loads(client.communicate(timeout=CLIENT_SECONDS_MAX)[0]) for name, client in clients.items()}
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        raise Refused("a client has not ended as it should") from None
    finally:
        for client in clients.values():
            client.kill()
            client.wait()


def run(top, caches, rounds):
    """By cache: what came of each test, a run after the other."""
    origin, servers = Origin(top / "origin"), {}
    results = collections.defaultdict(list)
    try:
        for cache in caches:
            servers[cache.name] = Server(top / cache.name, cache.peer, origin=origin.port)
        for number in range(rounds):
            for name, tests in ask_all(servers).items():
                results[name].append(tests)
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    finally:
        for server in [*servers.values(), origin]:
            server.stop()
    return results


def tell(title, rounds):
    """What did not pass, a line each."""
    by_run = [verdicts(tests) for tests in rounds]
    of, shaky = usual(by_run), unsteady(by_run)
    print(f"\n{title}")
    complaints = {test["id"]: test["result"][1] for tests in rounds for test in tests if test["result"] is not True}
    for test in rounds[-1]:
        name, kind = test["id"], test["kind"]
        if of[name] != PASSED or name in shaky:
            said = complaints.get(name, "a test that it rests on did not pass")
            print(f"  {kind}, {of[name]}{', not in each run' if name in shaky else ''}: {name}: {said}")


def page(caches, results, rounds):
    number_of, rows, shaky = versions(caches), [], []
    for cache in caches:
        by_run = [verdicts(tests) for tests in results[cache.name]]
        version = number_of.get(cache.name, "").partition("-")[0]
        rows.append([f"{cache.title} {version}".strip(), *counts(results[cache.name][-1], usual(by_run))])
        shaky.append(len(unsteady(by_run)))
    return (f"`http-cache-tests` {VERSION}; what came of most of {rounds} runs. Not the same in each: {', '.join(map(str, shaky))} tests of the"
            f" {len(results[caches[0].name][-1])}, in the order of the rows.\n\n{table(HEAD, rows)}")


def main():
    words = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--caches", default=",".join(cache.name for cache in CACHES), help="some of them")
    words.add_argument("--tell", default="outrigger", help="of which each test that did not pass is told")
    words.add_argument("--report", action="store_true", help="write the table to docs/CACHING.md")
    options = words.parse_args()
    names = [cache.name for cache in CACHES]
    unknown = [name for name in [*options.caches.split(","), *options.tell.split(",")] if name not in names]
    if unknown:
        words.error(f"there is no {', '.join(unknown)}; caches: {' '.join(names)}")
    caches = [cache for cache in CACHES if cache.name in options.caches.split(",")]
    try:
        install()
        with workplace("cache-tests-") as top:
            results = run(top, caches, options.rounds)
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        return 1
    for cache in caches:
        if cache.name in options.tell.split(","):
            tell(cache.title, results[cache.name])
    text = page(caches, results, options.rounds)
    print(f"\n{text}")
    if options.report:
        document.put(document.DOCS / "CACHING.md", "make cache-tests", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
