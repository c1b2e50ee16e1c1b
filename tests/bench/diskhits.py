#!/usr/bin/python3
"""What a hit from disk costs the event loop, and how many messages there are to a wake-up, between it and its store helpers.

One loop and its helpers on one core; the store lies in memory (tmpfs), so that reading takes processor time and no waiting. Connections ask for 16 KiB at random, of so
much more than memory holds that most of it is read; and then for as much as memory holds, for comparison. --report puts the table into docs/STORE.md."""
import os
import pathlib
import statistics
import struct
import sys

import document
from figures import number, table
from measurement import parse, parser, where_and_when, workplace
from million import await_true, metrics
from servers import PROGRAMS, ROOT, Origin, Peer, Server, fill, free_port, group, load

PEER = Peer("disk/outrigger.yaml", [str(ROOT / "build" / "outrigger"), "-c", "{file}"], {"memory": "16MiB", "size": "512MiB"})
BYTES, ON_DISK, IN_MEMORY = 16384, 8000, 256  # objects
CONNECTIONS = (1, 8, 32, 128)
SLOTS = 4096  # of bells.c
HELPERS = 4  # as many as there are: which of them are used is the server's business
HEAD = ["connections", "hits/s", "% of them from disk", "loop's CPU of a hit from memory, µs", "… from disk, µs", "helpers' CPU of a hit from disk, µs",
        "messages a wake-up, to a helper", "… to the loop"]


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def thread_seconds(pid, name=None):
    """CPU of a process's threads, or of those whose name begins so."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        where = pathlib.Path(f"/proc/{pid}/task/{task}")
        if name is None or (where / "comm").read_text().startswith(name):
            total += int((where / "schedstat").read_text().split()[0])
    return total / 1e9


class Watched:
    """A server with one loop, and what it and its store helpers have done so far."""

    def __init__(self, directory, counts, origin):
        self.counts, self.admin = counts, free_port()
        os.environ.update(LD_PRELOAD=str(PROGRAMS / "bells.so"), OUTRIGGER_BELLS=str(counts))
        try:
            self.server = Server(directory, PEER, origin=origin.port, admin=self.admin)
        finally:
            del os.environ["LD_PRELOAD"], os.environ["OUTRIGGER_BELLS"]
        await_true(lambda: len(self.processes(b"proxy")) == 1 and len(self.processes(b"store")) == HELPERS, "the processes to have their titles")
        self.proxy, self.helpers = self.processes(b"proxy"), self.processes(b"store")

    def processes(self, role):
        titles = {pid: pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() for pid in self.server.family()}
        return [pid for pid, title in titles.items() if title.startswith(b"outrigger: " + role)]

    def bells(self, pids):
        return sum(struct.unpack_from("<Q", self.counts.read_bytes(), 8 * (pid % SLOTS))[0] for pid in pids)

    def look(self):
        return {
            "hits": metrics(self.admin)["store_hits_total"],
            "loop": sum(thread_seconds(pid, "loop-0") for pid in self.proxy),
            "helper": sum(thread_seconds(pid) for pid in self.helpers),
            "to_helper": self.bells(self.proxy),
            "to_loop": self.bells(self.helpers),
        }

    def measure(self, connections, objects, seconds, seed):
        load(self.server, group("load", connections, f"/s/{BYTES}/%u", objects, "uniform"), seconds=0.3, seed=seed)
        before = self.look()
        ran = load(self.server, group("load", connections, f"/s/{BYTES}/%u", objects, "uniform"), seconds=seconds, seed=seed + 1)
        done = {name: value - before[name] for name, value in self.look().items()}
        return {**done, "requests": ran["groups"]["load"]["requests"], "rate": ran["groups"]["load"]["rate"]}


def figures(cold, hot):
    """Of one round. What hits from memory are among the cold ones is taken off at their price."""
    of_hot = hot["loop"] / hot["requests"]
    return {
        "rate": cold["rate"],
        "from_disk": 100 * cold["hits"] / cold["requests"],
        "hot_us": 1e6 * of_hot,
        "cold_us": 1e6 * (cold["loop"] - of_hot * (cold["requests"] - cold["hits"])) / cold["hits"],
        "helper_us": 1e6 * cold["helper"] / cold["hits"],
        "to_helper": cold["hits"] / max(1, cold["to_helper"]),
        "to_loop": cold["hits"] / max(1, cold["to_loop"]),
    }


def run(top, options):
    counts, origin, watched = top / "bells", Origin(top / "origin"), None
    counts.write_bytes(bytes(8 * SLOTS))
    counts.chmod(0o666)
    rounds = {connections: [] for connections in CONNECTIONS}
    try:
        watched = Watched(top / "outrigger", counts, origin)
        fill(watched.server, origin, [group("fill", 4, f"/s/{BYTES}/%u", ON_DISK, "once")])
        await_true(lambda: metrics(watched.admin)["store_queue_bytes"] == 0, "everything to be written")
        for number_of_round in range(options.rounds):
            for connections, of in rounds.items():
                cold = watched.measure(connections, ON_DISK, options.seconds, 10 * number_of_round)
                load(watched.server, group("load", 4, f"/s/{BYTES}/%u", IN_MEMORY, "once"))
                of.append(figures(cold, watched.measure(connections, IN_MEMORY, options.seconds, 10 * number_of_round)))
            say(f"round {number_of_round + 1} of {options.rounds}")
    finally:
        if watched:
            watched.server.stop()
        origin.stop()
    return {connections: {name: statistics.median(one[name] for one in of) for name in of[0]} for connections, of in rounds.items()}


def main():
    words = parser(__doc__, seconds=1)
    words.set_defaults(rounds=5)
    words.add_argument("--report", action="store_true", help="put into docs/STORE.md")
    options = parse(words)
    with workplace("diskhits-", "/dev/shm") as top:
        result = run(top, options)
    text = table(HEAD, [[connections, f"{of['rate']:,.0f}", *(number(of[name]) for name in list(of)[1:])] for connections, of in result.items()])
    print(text)
    if options.report:
        how = f"{where_and_when()}; medians of {options.rounds} rounds of {options.seconds:g} s."
        document.put(document.DOCS / "STORE.md", "make bench-diskhits", f"{how}\n\n{text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
