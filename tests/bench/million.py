#!/usr/bin/python3
"""A restart with a million records on disk: how long until it listens, until the first response comes from disk, and what the index costs.

The store is filled through the server. It is stopped, or killed, the page cache is dropped (needs root), and it is started again: a client connects as soon as it
can, and asks for one stored response after the other until one is a hit. Figures are medians."""
import itertools
import json
import os
import re
import signal
import socket
import statistics
import sys
import time

import document
import plot
import servers
from figures import table
from measurement import parse, parser, where_and_when, workplace
from servers import ROOT, Origin, Peer, Server, children, fill, free_port, group

BODY_BYTES = 200
PEER = Peer("disk/outrigger.yaml", [str(ROOT / "build" / "outrigger"), "-c", "{file}"], {"memory": "512MiB", "size": "8GiB"})
PATIENCE_SECONDS = 120
GOALS = {"listening_ms": 200, "first_hit_ms": 1000, "index_bytes_a_record": 12}


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def path_of(number):
    return f"/s/{BODY_BYTES}/{number}"


def ask(port, path, host):
    with socket.create_connection(("127.0.0.1", port), 5) as s:
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: s.recv(65536), b"")).decode("latin-1")


def metrics(port):
    return {m[1]: float(m[2]) for m in re.finditer(r"^outrigger_(\w+)(?:\{[^}]*\})? (\S+)$", ask(port, "/metrics", "localhost"), re.M)}


def await_true(condition, what):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"waited {PATIENCE_SECONDS} s for {what}")
        time.sleep(0.05)


def drop_page_cache():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("3")


def end(server, number):
    """All of its processes have ended."""
    family = [server.process.pid, *children(server.process.pid)]
    for pid in family if number == signal.SIGKILL else family[:1]:
        os.kill(pid, number)
    server.process.wait(PATIENCE_SECONDS)
    await_true(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in family[1:]), "its processes to end")


def restart(server, admin, number, chance):
    """`number`: the signal that ends it. `chance`: numbers of records, to ask for one after the other."""
    end(server, number)
    drop_page_cache()
    began = time.monotonic()
    server.start()
    listening = time.monotonic()
    while "; hit" not in ask(server.port, path_of(next(chance)), f"127.0.0.1:{server.port}"):
        if time.monotonic() > began + PATIENCE_SECONDS:
            sys.exit("nothing is found again")
        time.sleep(0.002)
    hit = time.monotonic()
    await_true(lambda: metrics(admin)["store_recovering"] == 0, "all to be found again")
    after = metrics(admin)
    return {
        "how": number.name,
        "listening_ms": 1000 * (listening - began),
        "first_hit_ms": 1000 * (hit - began),
        "recovery_ms": 1000 * after["store_recovery_seconds"],
        "records": after["store_records"],
        "index_bytes_a_record": after["store_index_bytes"] / after["store_records"],
    }


def measure(top, options):
    origin, server = Origin(top / "origin"), None
    try:
        admin = free_port()
        server = Server(top / "outrigger", PEER, is_first=False, origin=origin.port, admin=admin)
        began = time.monotonic()
        fill(server, origin, [group("all", 32, f"/s/{BODY_BYTES}/%u", options.records, "once")])
        await_true(lambda: metrics(admin)["store_queue_bytes"] == 0, "everything to be written")
        say(f"filled in {time.monotonic() - began:.0f} s: {metrics(admin)['store_records']:,.0f} records")
        server.command[:0] = servers.priority  # not before: it would outrun the kernel threads that write
        rounds, chance = [], (n * 7919 % options.records for n in itertools.count(1))
        for number in range(options.rounds):
            rounds.append(restart(server, admin, signal.SIGKILL if number % 2 else signal.SIGTERM, chance))
            say(rounds[-1])
        return rounds
    finally:
        if server:
            server.stop()
        origin.stop()


FIGURES = {
    "listening_ms": "it listens, ms after the start",
    "first_hit_ms": "first hit from disk, ms after the start",
    "recovery_ms": "recovery takes, ms",
    "index_bytes_a_record": "the index has, bytes a record",
}


def page(rounds):
    rows = []
    for name, title in FIGURES.items():
        values, goal = [measured[name] for measured in rounds], GOALS.get(name)
        verdict = "–" if goal is None else f"{goal:,}: {'met' if max(values) < goal else 'missed'}"
        rows.append([title, f"{statistics.median(values):,.1f}", f"{min(values):,.1f} to {max(values):,.1f}", verdict])
    how = f"{rounds[0]['records']:,.0f} records, {len(rounds)} restarts, the page cache dropped before each; server on one core. {where_and_when()}."
    return f"{how}\n\n{table(['', 'median', 'of all', 'goal'], rows)}"


def chart(rounds):
    title = "Restarts, orderly and by kill -9"
    series = [plot.Series(name[: -len("_ms")].replace("_", " "), [measured[name] for measured in rounds]) for name in FIGURES if name.endswith("_ms")]
    drawn = plot.bars(title, "", [measured["how"][len("SIG"):] for measured in rounds], "ms", series)
    return document.draw(document.DOCS / "STORE.md", "restart", title, drawn)


def main():
    made = parser(__doc__, 0)
    made.add_argument("--records", type=int, default=1_000_000)
    made.add_argument("--directory", default="/var/tmp", help="on the disk that is measured")
    made.add_argument("--json", help="write the figures there as well")
    made.add_argument("--report", action="store_true", help="write them into docs/STORE.md as well")
    made.set_defaults(rounds=6)
    options = parse(made)
    with workplace("outrigger-million-", options.directory) as top:
        rounds = measure(top, options)
    print(page(rounds))
    if options.report:
        document.put(document.DOCS / "STORE.md", "make bench-restart", "\n\n".join([page(rounds), chart(rounds)]))
    if options.json:
        with open(options.json, "w") as file:
            json.dump(rounds, file, indent=1)


if __name__ == "__main__":
    main()
