#!/usr/bin/python3
"""Hits of a client that behaves, alone and beside each attack of docs/HTTP2.md: what becomes of their latency, of the attackers, and of memory.

The server has core 0, the client and the attackers share core 1: the client comes first, so that what it waits for is the server. --report writes docs/HTTP2.md."""
import contextlib
import re
import statistics
import subprocess
import sys
import time

import document
from attackers import FLOODS, HOLDERS, HOT, LARGE
from figures import number, table
from measurement import parse, parser, workplace
from million import metrics
from place import write_certificate
from servers import CLIENT_CORE, HERE, ROOT, Origin, Peer, Refused, Server, allow_descriptors, die_with_parent, fill, free_port, group, load, load_command

CONNECTIONS, HANDSHAKERS = 8, 32
HANDSHAKES = "handshakes"
ATTACKS = [*FLOODS, HANDSHAKES, *HOLDERS]
SETTLE_SECONDS = 5  # until those who wait are all there
LEAST_NICE = ["nice", "-n", "19"]
OURS = Peer("attacks.yaml", [str(ROOT / "build" / "outrigger"), "-c", "{file}"])


def attacker(name, server):
    if name == HANDSHAKES:  # full ones, as fast as they go
        command = load_command(server, [*group(name, HANDSHAKERS, HOT), "--tls", "--close"], seconds=3600, check=False)
        return command[command.index("taskset") :]
    return ["taskset", "-c", CLIENT_CORE, sys.executable, str(HERE / "attackers.py"), name, str(server.port), str(server.tls_port)]


@contextlib.contextmanager
def attacked(name, server):
    def prepare():
        die_with_parent()
        allow_descriptors()

    process = subprocess.Popen([*LEAST_NICE, *attacker(name, server)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=prepare)
    try:
        yield
        if process.poll() is not None:
            raise Refused(f"{name}: the attacker ended: {process.stderr.read().decode()[-300:]}")
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def proxy_memory(server):
    """Resident, of the largest process: the one that serves."""
    most = 0
    for pid in server.family():
        with contextlib.suppress(OSError):
            most = max(most, int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status").read())[1]) * 1024)
    return most


def hits(server, seconds):
    measured = load(server, group("hot", CONNECTIONS, HOT), seconds=seconds)
    of = measured["groups"]["hot"]
    return {"rate": of["rate"], "p50_us": of["latency_us"]["p50"], "p99_us": of["latency_us"]["p99"]}


def measure(server, admin, name, seconds):
    alone = hits(server, seconds)
    closed, memory = metrics(admin)["client_connections_closed_total"], proxy_memory(server)
    with attacked(name, server):
        time.sleep(SETTLE_SECONDS)
        beside = hits(server, seconds)
        grown = proxy_memory(server) - memory
        ended = metrics(admin)["client_connections_closed_total"] - closed
    return {
        **{f"alone_{key}": value for key, value in alone.items()},
        **{f"beside_{key}": value for key, value in beside.items()},
        "p99_ratio": beside["p99_us"] / alone["p99_us"],
        "ended_a_second": max(0, ended - CONNECTIONS) / (seconds + SETTLE_SECONDS),
        "grown_mb": max(0, grown) / 1e6,
    }


HEAD = ["attack", "hits/s alone", "beside it", "p50, µs", "beside it", "p99, µs", "beside it", "×", "attackers ended a second", "memory, MB more"]


def row(name, m):
    return [name, f"{m['alone_rate']:,.0f}", f"{m['beside_rate']:,.0f}", number(m["alone_p50_us"]), number(m["beside_p50_us"]), number(m["alone_p99_us"]), number(m["beside_p99_us"]),
            number(m["p99_ratio"], 2), f"{m['ended_a_second']:,.0f}", number(m["grown_mb"], 2)]


def run(top, options):
    origin, rounds, failed = Origin(top / "origin"), {}, []
    admin = free_port()
    server = Server(top / "outrigger", OURS, origin=origin.port, admin=admin, **write_certificate(top))
    try:
        for path in (HOT, LARGE):
            for tls in ([], ["--tls"]):
                fill(server, origin, [[*group("fill", 1, path, order="once"), *tls]])
        for _ in range(options.rounds):
            for name in options.attacks.split(","):
                try:
                    measured = measure(server, admin, name, options.seconds)
                except Refused as refusal:
                    print(f"{name}: {refusal}", file=sys.stderr, flush=True)
                    failed.append(name)
                    continue
                rounds.setdefault(name, []).append(measured)
                print(" | ".join(row(name, measured)), file=sys.stderr, flush=True)
    finally:
        server.stop()
        origin.stop()
    return {name: {key: statistics.median(one[key] for one in of) for key in of[0]} for name, of in rounds.items() if name not in failed}, failed


def page(medians, options):
    return (f"{CONNECTIONS} connections of a client ask for a stored response of 1 KB, as fast as they are answered, alone and beside each"
            f" attack of a single\nmachine; one worker on one core, the client and, behind it, the attackers on another. {options.rounds} rounds of {options.seconds:g} s, medians."
            f" An attacker that is ended comes back at once.\n\n{table(HEAD, [row(name, measured) for name, measured in medians.items()])}\n")


def main():
    words = parser(__doc__, seconds=3)
    words.add_argument("--quick", action="store_true", help="one short round: to see that it works")
    words.add_argument("--attacks", default=",".join(ATTACKS), help="some of them")
    words.add_argument("--report", action="store_true", help="write the table to docs/HTTP2.md")
    options = parse(words)
    if options.quick:
        options.rounds, options.seconds = 1, 1
    with workplace("attacks-") as top:
        medians, failed = run(top, options)
    text = page(medians, options)
    print(text)
    if failed:
        print(f"no figures beside {', '.join(failed)}: nothing is written", file=sys.stderr)
        return 1
    if options.report:
        document.put(document.DOCS / "HTTP2.md", "make bench-attacks", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
