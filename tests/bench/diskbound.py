#!/usr/bin/python3
"""The disk-bound case (DESIGN §11): 300 MB of memory in all, 60,000 objects of 16 KB on a disk held to 1,500 reads a second. 8 connections ask for one hot object
of 1 KB, first alone, then while 32 others read the rest at random. A server that lets its memory hits wait for the disk shows it here.

That is measured twice. *Saturated*: each connection asks again as soon as it has its response, so that the server's core is the limit, and what disk hits cost of it
is taken from the others. *Paced*: 16 of them ask at a fixed rate, a part of what this server did alone, so that there is time for both; a latency counts from when
the request should have been made.

All servers run at once, each within its own limits; only one is under load. Rounds are interleaved, figures are medians. What the origin was asked for in a
measurement is told apart from hits."""
import json
import sys

import document
import plot
from figures import median_of, number, table
from limits import Limits, Unable
from measurement import parse, parser_with_limits, where_and_when, workplace
from servers import ROOT, Origin, Peer, Refused, Server, fill, group, load

COLD_BYTES, HOT = 16384, "/s/1024/hot"
HOT_CONNECTIONS, COLD_CONNECTIONS = 8, 32
PACE, PACED_CONNECTIONS = 0.6, 16  # of what it does alone; as many as ask in one tick of the load's, at 64,000 a second
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
        saturated = self.compare(group("hot", HOT_CONNECTIONS, HOT), self.options.warm_up, seed)
        rate = PACE * saturated["hot_alone"]
        paced = self.compare([*group("hot", PACED_CONNECTIONS, HOT), "--rate", f"{rate:.0f}"], 1, seed + 500)
        return {"saturated": saturated, "paced": paced}

    def compare(self, hot, warm_up, seed):
        """The hot object alone, then beside the cold ones."""
        seconds, cold = self.options.seconds, self.cold(COLD_CONNECTIONS, "uniform")
        alone = load(self.server, hot, seconds=seconds, warm_up=1)
        asked = self.origin.asked()
        settled = load(self.server, hot, cold, seconds=warm_up, seed=seed)
        reads = self.limits.reads_done()
        beside = load(self.server, hot, cold, seconds=seconds, seed=seed + 1)
        reads = self.limits.reads_done() - reads
        one, two, rest = alone["groups"]["hot"], beside["groups"]["hot"], beside["groups"]["cold"]
        fetched = self.origin.asked() - asked
        asked_for = rest["requests"] + settled["groups"]["cold"]["requests"]
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
            "cold_hits": rest["rate"] * (1 - min(1, fetched / max(1, asked_for))),
            "cold_misses": rest["rate"] * min(1, fetched / max(1, asked_for)),
            "cold_p50_ms": rest["latency_us"]["p50"] / 1000,
            "cold_p99_ms": rest["latency_us"]["p99"] / 1000,
            "disk_reads": reads / beside["seconds"],
            "cpu_seconds_a_second": beside["cpu_seconds"] / beside["seconds"],
            "memory_bytes": self.limits.memory_used(),
        }

    def stop(self):
        if self.server:
            self.server.stop()
        self.limits.remove()


HEAD = ["", "hot alone", "p50 / p99, ms", "hot beside the disk-bound load", "p50 / p99, ms", "× p99", "cold hits/s", "cold p50 / p99, ms", "disk reads/s", "CPU"]
PARTS = {
    "saturated": "Saturated: the hot connections ask as fast as they are answered.",
    "paced": f"Paced: {100 * PACE:.0f} % of what each server does alone.",
}


def cells_of(name, m):
    return [
        name, f"{m['hot_alone']:,.0f}/s", f"{m['hot_alone_p50_ms']:.2f} / {m['hot_alone_p99_ms']:.2f}",
        f"{m['hot_beside']:,.0f}/s ({100 * m['hot_kept']:.1f} %)", f"{m['hot_beside_p50_ms']:.2f} / {m['hot_beside_p99_ms']:.2f}", number(m["p99_ratio"]),
        f"{m['cold_hits']:,.0f}" + (f" (and {m['cold_misses']:,.0f} misses)" if m["cold_misses"] >= 1 else ""),
        f"{m['cold_p50_ms']:.0f} / {m['cold_p99_ms']:.0f}", f"{m['disk_reads']:,.0f}", f"{100 * m['cpu_seconds_a_second']:.0f} %",
    ]


def tables(result):
    return [f"{title}\n\n{table(HEAD, [cells_of(name, of[part]) for name, of in result.items()])}" for part, title in PARTS.items()]


def charts(result):
    """The lines that show them."""
    out = []
    for name, figure, factor, title, unit in (
        ("kept", "hot_kept", 100, "Hits from memory beside a disk-bound load", "% of the rate alone"),
        ("cold", "cold_hits", 1, "Hits from disk beside hits from memory", "cold hits a second"),
    ):
        series = [plot.Series(part, [factor * of[part][figure] for of in result.values()]) for part in PARTS]
        out.append(document.draw(document.DOCS / "STORE.md", f"diskbound-{name}", title, plot.bars(title, "", list(result), unit, series)))
    return out


def say(*words, **how):
    print(*words, file=sys.stderr, flush=True, **how)


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
        for turn in range(options.rounds):
            for contender in contenders:
                try:
                    measured = contender.measure(1000 * turn)
                except Refused as refusal:
                    skipped[contender.name] = str(refusal)
                    say(f"{contender.name}: {refusal}")
                    continue
                rounds.setdefault(contender.name, []).append(measured)
                say(f"{contender.name}, round {turn + 1}", *("| ".join(cells_of(part, of)) for part, of in measured.items()), sep="\n  ")
    finally:
        for contender in contenders:
            contender.stop()
        origin.stop()
    return rounds, skipped


def main():
    words = parser_with_limits(__doc__, seconds=5, warm_up=3)
    words.add_argument("--peers", default=",".join(PEERS))
    words.add_argument("--objects", type=int, default=60000)
    words.add_argument("--report", action="store_true", help="write it into docs/STORE.md as well")
    options = parse(words)
    if options.quick:
        options.objects, options.memory, options.rounds, options.seconds, options.warm_up = 24000, 150, 1, 2, 1
    try:
        with workplace("diskbound-", options.directory) as top:
            rounds, skipped = run(top, options)
    except Unable as reason:
        say(f"diskbound: {reason}")
        return 2
    result = {name: {part: median_of([one[part] for one in of]) for part in PARTS} for name, of in rounds.items()}
    conditions = (
        f"{options.memory} MB of memory in all, {options.objects:,} objects of 16 KB, {options.reads:,} disk reads a second;"
        f" {options.rounds} rounds of {options.seconds:g} s, medians. {where_and_when()}."
    )
    text = "\n\n".join([conditions, *tables(result), *(f"{name} is missing: {reason}" for name, reason in skipped.items())])
    print(text)
    if options.report:
        document.put(document.DOCS / "STORE.md", "make bench-diskbound", "\n\n".join([text, *charts(result)]))
    if options.json:
        options.json.write_text(json.dumps({"options": {**vars(options), "json": None}, "rounds": rounds, "medians": result, "skipped": skipped}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
