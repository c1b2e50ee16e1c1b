#!/usr/bin/python3
"""The disk-bound case (DESIGN §11): 300 MB of memory in all, 60,000 objects of 16 KB on a disk held to 1,500 reads a second. 8 connections ask for one hot object
of 1 KB, first alone, then while 32 others read the rest at random. A server that lets its memory hits wait for the disk shows it here.

All servers run at once, each within its own limits; only one is under load. Rounds are interleaved, figures are medians. What the origin was asked for in a
measurement is told apart from hits."""
import json
import statistics
import sys

from limits import Limits, Unable
from measurement import parse, parser_with_limits, workplace
from servers import ROOT, Origin, Peer, Refused, Server, fill, group, load

COLD_BYTES, HOT = 16384, "/s/1024/hot"
HOT_CONNECTIONS, COLD_CONNECTIONS = 8, 32
NGINX = ["nginx", "-c", "{file}"]
VARNISH = "varnishd -F -j none -n {dir}/work -f {file} -a 127.0.0.1:{port} -s file,{dir}/store,2g -p vsl_space=8m -p thread_pools=1 -p thread_pool_min=100"
PEERS = {
    "outrigger": Peer("disk/outrigger.yaml", [str(ROOT / "build" / "outrigger"), "-c", "{file}"], {"size": "2GiB"}),
    "nginx": Peer("disk/nginx.conf", NGINX, {"aio": ""}),
    "nginx-aio": Peer("disk/nginx.conf", NGINX, {"aio": "aio threads=readers;"}),
    "varnish": Peer("disk/varnish.vcl", VARNISH.split()),
    "trafficserver": Peer("disk/trafficserver", ["traffic_server", "--run-root={dir}/trafficserver/runroot.yaml"]),
}


class Contender:
    """A server within its limits, filled."""

    def __init__(self, name, top, origin, options):
        self.name, self.origin, self.options, self.server = name, origin, options, None
        self.limits = Limits(name, top, options.memory * 10**6)
        try:
            self.server = Server(top / name, PEERS[name], enter=self.limits.enter, origin=origin.port, memory=f"{options.memory * 2 // 3}MB")
            self.fill()
        except BaseException:
            self.stop()
            raise

    def cold(self, connections, order):
        return group("cold", connections, f"/s/{COLD_BYTES}/%u", self.options.objects, order)

    def fill(self):
        fill(self.server, self.origin, [self.cold(8, "once")])
        load(self.server, group("hot", 1, HOT), seconds=0.2)
        self.limits.drop_page_cache()
        self.limits.throttle(self.options.reads)

    def measure(self, seed):
        hot, seconds = group("hot", HOT_CONNECTIONS, HOT), self.options.seconds
        alone = load(self.server, hot, seconds=seconds, warm_up=1)
        asked = self.origin.asked()
        settled = load(self.server, hot, self.cold(COLD_CONNECTIONS, "uniform"), seconds=self.options.warm_up, seed=seed)
        reads = self.limits.reads_done()
        beside = load(self.server, hot, self.cold(COLD_CONNECTIONS, "uniform"), seconds=seconds, seed=seed + 1)
        reads = self.limits.reads_done() - reads
        one, two, cold = alone["groups"]["hot"], beside["groups"]["hot"], beside["groups"]["cold"]
        fetched = self.origin.asked() - asked
        asked_for = cold["requests"] + settled["groups"]["cold"]["requests"]
        return {
            "hot_alone": one["rate"],
            "hot_alone_p50_ms": one["latency_us"]["p50"] / 1000,
            "hot_alone_p99_ms": one["latency_us"]["p99"] / 1000,
            "hot_alone_cpu_us": alone["cpu_seconds"] * 1e6 / max(1, one["requests"]),
            "hot_beside": two["rate"],
            "hot_kept": two["rate"] / one["rate"],
            "hot_beside_p50_ms": two["latency_us"]["p50"] / 1000,
            "hot_beside_p99_ms": two["latency_us"]["p99"] / 1000,
            "p99_ratio": two["latency_us"]["p99"] / one["latency_us"]["p99"],
            "cold_hits": cold["rate"] * (1 - min(1, fetched / max(1, asked_for))),
            "cold_misses": cold["rate"] * min(1, fetched / max(1, asked_for)),
            "cold_p50_ms": cold["latency_us"]["p50"] / 1000,
            "cold_p99_ms": cold["latency_us"]["p99"] / 1000,
            "disk_reads": reads / beside["seconds"],
            "cpu_seconds_a_second": beside["cpu_seconds"] / beside["seconds"],
            "memory_bytes": self.limits.memory_used(),
        }

    def stop(self):
        if self.server:
            self.server.stop()
        self.limits.remove()


HEAD = """| | hot alone | p50 / p99 | hot beside the disk-bound load | p50 / p99 | cold hits/s | cold p50 / p99 | disk reads/s | CPU |
|---|---|---|---|---|---|---|---|---|"""


def row(name, m):
    return (
        f"| {name} | {m['hot_alone']:,.0f}/s | {m['hot_alone_p50_ms']:.2f} / {m['hot_alone_p99_ms']:.2f} ms"
        f" | {m['hot_beside']:,.0f}/s ({100 * m['hot_kept']:.0f} %) | {m['hot_beside_p50_ms']:.2f} / {m['hot_beside_p99_ms']:.2f} ms"
        f" | {m['cold_hits']:,.0f}{' (and %d misses)' % m['cold_misses'] if m['cold_misses'] >= 1 else ''} | {m['cold_p50_ms']:.0f} / {m['cold_p99_ms']:.0f} ms"
        f" | {m['disk_reads']:,.0f} | {100 * m['cpu_seconds_a_second']:.0f} % |"
    )


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def run(top, options):
    rounds, skipped, contenders = {}, {}, []
    origin = Origin(top / "origin")
    try:
        for name in options.peers.split(","):
            try:
                contenders.append(Contender(name, top, origin, options))
                say(f"{name}: filled")
            except (Refused, FileNotFoundError) as refusal:
                skipped[name] = str(refusal)
                say(f"{name}: skipped: {refusal}")
        for number in range(options.rounds):
            for contender in contenders:
                try:
                    measured = contender.measure(1000 * number)
                except Refused as refusal:
                    skipped[contender.name] = str(refusal)
                    say(f"{contender.name}: {refusal}")
                    continue
                rounds.setdefault(contender.name, []).append(measured)
                say(row(f"{contender.name}, round {number + 1}", measured))
    finally:
        for contender in contenders:
            contender.stop()
        origin.stop()
    return rounds, skipped


def main():
    words = parser_with_limits(__doc__, seconds=5, warm_up=3)
    words.add_argument("--peers", default=",".join(PEERS))
    words.add_argument("--objects", type=int, default=60000)
    options = parse(words)
    if options.quick:
        options.objects, options.memory, options.rounds, options.seconds, options.warm_up = 24000, 150, 1, 2, 1
    try:
        with workplace("diskbound-", options.directory) as top:
            rounds, skipped = run(top, options)
    except Unable as reason:
        say(f"diskbound: {reason}")
        return 2
    result = {name: {key: statistics.median(one[key] for one in of) for key in of[0]} for name, of in rounds.items()}
    print(
        f"{options.memory} MB of memory in all, {options.objects:,} objects of 16 KB, {options.reads:,} disk reads a second;"
        f" {options.rounds} rounds of {options.seconds:g} s, medians\n"
    )
    print(HEAD)
    for name, measured in result.items():
        print(row(name, measured))
    for name, reason in skipped.items():
        print(f"\n{name} is missing: {reason}")
    if options.json:
        options.json.write_text(json.dumps({"options": {**vars(options), "json": None}, "rounds": rounds, "medians": result, "skipped": skipped}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
