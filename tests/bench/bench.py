#!/usr/bin/python3
"""Speed against the peers, in one run: server pinned to one core, client and origin to the other, rounds interleaved, medians, CPU time of all of a
server's processes per request. Figures are ratios to trust, not absolutes: the machines are shared.

    tests/bench/bench.py [--cases hit1k,…] [--peers outrigger,nginx,haproxy] [--seconds 3] [--rounds 3]"""
import statistics
import sys

from measurement import parse, parser, workplace
from servers import ROOT, Origin, Peer, Server, group, load

BROWSER = [
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-GB,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br",
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark",
]
CASES = {"hit1k": 1024, "hit10k": 10 * 1024, "hit100k": 100 * 1024, "hit1m": 1000 * 1000}
PEERS = {
    "outrigger": Peer("outrigger.yaml", [str(ROOT / "build" / "outrigger"), "-c", "{file}"]),
    "nginx": Peer("nginx.conf", ["nginx", "-c", "{file}"]),
    "haproxy": Peer("haproxy.cfg", ["haproxy", "-f", "{file}"]),
}


def measure(server, path, connections, seconds):
    ran = load(server, group("hits", connections, path), seconds=seconds, fields=BROWSER)
    hits = ran["groups"]["hits"]
    return {"rate": hits["rate"], "cpu_us": ran["cpu_seconds"] * 1e6 / max(1, hits["requests"]), "p99_ms": hits["latency_us"]["p99"] / 1000}


def compare(case, servers, options):
    results, path = {peer: [] for peer in servers}, f"/s/{CASES[case]}/object"
    for server in servers.values():
        measure(server, path, options.connections, 1)
    for _ in range(options.rounds):
        for peer, server in servers.items():
            results[peer].append(measure(server, path, options.connections, options.seconds))
    print(f"{case}: {options.connections} connections, {options.rounds} rounds of {options.seconds:g} s")
    for peer, rounds in results.items():
        middle = {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
        print(f"  {peer:<10} {middle['rate']:>9.0f}/s   {middle['cpu_us']:6.2f} µs CPU a request   p99 {middle['p99_ms']:.2f} ms")


def main():
    words = parser(__doc__, seconds=3)
    words.add_argument("--cases", default="hit1k")
    words.add_argument("--peers", default=",".join(PEERS))
    words.add_argument("--connections", type=int, default=64)
    options = parse(words)
    with workplace("bench-") as top:
        running = [Origin(top / "origin")]
        try:
            for peer in options.peers.split(","):
                running.append(Server(top / peer, PEERS[peer], origin=running[0].port))
            for case in options.cases.split(","):
                compare(case, dict(zip(options.peers.split(","), running[1:])), options)
        finally:
            for server in reversed(running):
                server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
