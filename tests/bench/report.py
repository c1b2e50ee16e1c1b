#!/usr/bin/python3
"""docs/BENCHMARKS.md of what tests/bench/bench.py has measured.

    tests/bench/report.py RESULTS.json…     where several have a case, the last counts"""
import json
import pathlib
import sys

import plot
from cases import CASES, CONNECTIONS, CONTESTANTS, FLOOR, MEMORY_CASES, OUTRIGGER
from figures import DESIGN_FLOOR_US, best_peer, number, ratio, scaled_reach, table, verdict
from servers import ROOT

TITLES = {contestant.name: contestant.title for contestant in CONTESTANTS}
PEERS = [contestant.name for contestant in CONTESTANTS if contestant.name not in (FLOOR, OUTRIGGER)]
CHARTS = {  # cases whose figures are of one size
    "small": ("Hits of some KB", ["hit1k", "zipf", "hit10k", "conns5k"]),
    "large": ("Large hits", ["hit100k"]),
    "largest": ("1 MB hits", ["hit1m"]),
    "origin": ("With a connection or a fetch", ["newconn", "pass", "miss"]),
    "tls": ("TLS and HTTP/2", ["tls1k", "h2"]),
    "tls-large": ("TLS, 100 KB", ["tls100k"]),
    "handshakes": ("Handshakes", ["handshake", "resumed"]),
}


def line_of(case, results, figure, unit):
    """What is said while it runs."""
    ranked = sorted((measured[figure], name) for name, measured in results["cases"][case.name].items())
    return f"{case.name}: " + ", ".join(f"{TITLES[name]} {number(value)}" for value, name in ranked) + f" {unit}"


def reasons(case, results):
    """In one line, those that say something."""
    said = {name: reason for name, reason in results["skipped"].get(case.name, {}).items() if name != FLOOR}
    return "".join(f"\n- {TITLES[name]}: {reason}" for name, reason in said.items())


def cells_of(name, of_case):
    measured, least = of_case[name], best_peer(of_case, "cpu_us", OUTRIGGER, FLOOR)
    of_best = ratio(measured["cpu_us"], of_case[least]["cpu_us"]) if least else None
    of_floor = ratio(measured["cpu_us"], of_case.get(FLOOR, {}).get("cpu_us"))
    return [
        TITLES[name], f"{measured['rate']:,.0f}", number(measured["cpu_us"]), number(of_best), number(of_floor), number(measured["p50_ms"]),
        number(measured["p99_ms"]), number(measured["memory_mb"]), f"{100 * measured['busy']:.0f} %",
    ]


HEAD = ["", "requests/s", "CPU, µs a request", "× the best peer", "× raw epoll", "p50, ms", "p99, ms", "memory, MB", "its core busy"]


def of_case(case, results):
    of = results["cases"][case.name]
    rows = [cells_of(name, of) for name in TITLES if name in of]
    return f"### {case.title} (`{case.name}`)\n\n{case.row}\n\n{table(HEAD, rows)}\n{reasons(case, results)}"


def of_memory_case(case, results):
    of = results["cases"][case.name]
    least = best_peer(of, "bytes", OUTRIGGER, FLOOR)
    rows = [[TITLES[name], number(of[name]["bytes"]), number(ratio(of[name]["bytes"], of[least]["bytes"]) if least else None)] for name in TITLES if name in of]
    return f"### {case.title} (`{case.name}`)\n\n{case.row}\n\n{table(['', 'bytes', '× the best peer'], rows)}\n{reasons(case, results)}"


def best_words(of, figure):
    """The three best peers, as the table of the design has them."""
    ranked = sorted((measured[figure], name) for name, measured in of.items() if name in PEERS)
    return ", ".join(f"{TITLES[name]} {number(value)}" for value, name in ranked[:3]) or "–"


def summary_row(case, results, figure, floor_us):
    of = results["cases"][case.name]
    ours, floor = of.get(OUTRIGGER, {}).get(figure), of.get(FLOOR, {}).get(figure)
    least = best_peer(of, figure, OUTRIGGER, FLOOR)
    here = scaled_reach(case.reach, floor_us) if figure == "cpu_us" else case.reach
    return [
        f"{case.title} (`{case.name}`)", number(floor), best_words(of, figure), f"**{number(ours)}**", number(ratio(ours, of[least][figure]) if least else None),
        number(case.reach), verdict(ours, case.reach), number(here), verdict(ours, here),
    ]


def summary(results):
    """The table of DESIGN §11."""
    floor_us = results["cases"].get("hit1k", {}).get(FLOOR, {}).get("cpu_us")
    head = ["", "raw epoll", "best peers", "Outrigger", "× the best peer", "reach", "", "reach, on this machine", ""]
    out = []
    for title, cases, figure in (("µs of CPU a request", CASES, "cpu_us"), ("bytes", MEMORY_CASES, "bytes")):
        rows = [summary_row(case, results, figure, floor_us) for case in cases if case.name in results["cases"]]
        if rows:
            out.append(table([title, *head[1:]], rows))
    return "\n\n".join(out)


def merged(several):
    all_of = several[-1].copy()
    for part in ("cases", "skipped", "missing", "versions"):
        all_of[part] = {key: value for results in several for key, value in results[part].items()}
    return all_of


def page(several):
    """All tables."""
    results = merged(several)
    parts = [summary(results)]
    parts += [of_case(case, results) for case in CASES if case.name in results["cases"]]
    parts += [of_memory_case(case, results) for case in MEMORY_CASES if case.name in results["cases"]]
    parts += [f"{TITLES[name]} is missing: {reason}" for name, reason in results["missing"].items()]
    return "\n\n".join(parts) + "\n"


def charts(results, directory):
    """Draws; returns the lines that show them."""
    out = []
    for name, (title, names) in CHARTS.items():
        cases = [case for case in CASES if case.name in names and case.name in results["cases"]]
        if not cases:
            continue
        of = [results["cases"][case.name] for case in cases]
        series = [plot.Series(TITLES[server], [one.get(server, {}).get("cpu_us") for one in of]) for server in TITLES if any(server in one for one in of)]
        file = directory / f"{name}.svg"
        file.write_text(plot.bars(f"{title}: CPU time of the whole server", "", [case.name for case in cases], "µs a request", series))
        out.append(f"![{title}]({directory.name}/{file.name})")
    return out


INTRODUCTION = """# Speed, beside others

Written by `make bench-report`, of {when}; what it says is measured, ours and the others in one run.

**Machine**: {processor}, {cores} cores, Linux {kernel}. **Servers**: {versions}; each as a caching proxy with the best configuration that we found for it, in
`tests/bench/peers/`: one thread or process, logs off, its cache in memory (nginx and Traffic Server have theirs in a directory on tmpfs). H2O has no cache: it
serves the origin's files from a directory on tmpfs. Raw epoll is `tests/bench/floor.c`: a loop that reads, sends a response that it had before and does
nothing else, with OpenSSL for TLS. It is the limit of what a server of this kind can do here.

**Method**: the server is pinned to core 0, the client and the origin (nginx, idle while hits are measured) to core 1. One server runs at a time, the others are
stopped. Figures are medians of {rounds} × {seconds:g} s, the servers taking turns. The client is `tests/bench/load.c`: {connections} connections unless said otherwise, each asks again when
it has the response; it has a browser's five request fields, and checks that each response has status 200 and begins with the path that was asked for. That hits were hits, and
fetches fetches, is checked by what the origin was asked for.

- **CPU, µs a request**: processor time of all of a server's processes, user and kernel, divided by the responses. This is the figure to compare: where the client's
  core is the limit, requests/s say more of the client than of the server.
- **× the best peer**, **× raw epoll**: that figure, divided by the best peer's and by the limit's in the same run.
- **p50**, **p99**: from request to the response's last byte, in a closed loop: with {connections} connections that all wait for one core, it is about {connections} times
  the time of one request.
- **memory**: heap, stacks and shared segments of all of its processes, and what it has in its directory on tmpfs; at the end of the case. What the kernel holds for its
  sockets is in none of the figures.
- **its core busy**: how much of its core the server took. Where it is much less than all, it was the client's core that was busy, and requests/s could be more.
- **reach**: the goal that was set for this server, in µs of a machine on which raw epoll takes {design_floor} µs for the first row; *reach, on this machine* is the same goal
  times what raw epoll takes here. Memory does not depend on a machine's speed.

To reproduce: `make bench-report`. It installs the peers, starts none of them as a service, and takes about half an hour, two cores that do nothing else, and 8 GB of memory for
files and caches. Where the machine does other things as well, `make bench-report FIRST=1`, as root, lets what is measured come first. `make bench CASES=hit1k
PEERS=nginx` measures one case beside one peer, `make bench QUICK=1` everything a little.
"""


def write(several):
    results = merged(several)
    directory = ROOT / "docs" / "benchmarks"
    directory.mkdir(exist_ok=True)
    versions = ", ".join(f"{TITLES[name]} {version}" for name, version in results["versions"].items())
    facts = {**results["machine"], **results["options"], "versions": versions, "connections": CONNECTIONS, "design_floor": DESIGN_FLOOR_US}
    text = INTRODUCTION.format(**facts) + "\n" + "\n\n".join(charts(results, directory)) + "\n\n" + page(several)
    (ROOT / "docs" / "BENCHMARKS.md").write_text(text)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    write([json.loads(pathlib.Path(name).read_text()) for name in sys.argv[1:]])


if __name__ == "__main__":
    main()
