#!/usr/bin/python3
"""Speed against the peers, in one run: server pinned to one core, client and origin to the other, rounds interleaved, medians, CPU time of all of a
server's processes per request. Figures are ratios to trust, not absolutes: the machines are shared.

    tests/bench/bench.py [--cases hit1k,…] [--peers outrigger,nginx,haproxy] [--seconds 3] [--rounds 3]"""
import argparse
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
TICKS = os.sysconf("SC_CLK_TCK")
BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br",
    "Cookie": "session=0123456789abcdef0123456789abcdef; theme=dark",
}
CASES = {"hit1k": 1024, "hit10k": 10 * 1024, "hit100k": 100 * 1024, "hit1m": 1000 * 1000}
PEERS = {
    "outrigger": ("outrigger.yaml", lambda file: [str(ROOT / "build/outrigger"), "-c", file]),
    "nginx": ("nginx.conf", lambda file: ["nginx", "-c", file]),
    "haproxy": ("haproxy.cfg", lambda file: ["haproxy", "-f", file]),
}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A pinned server with its configuration filled in; ended by its own process id."""

    def __init__(self, directory, template, command, core, **values):
        directory.mkdir()
        directory.chmod(0o755)
        self.port = free_port()
        text = (HERE / "peers" / template).read_text()
        for name, value in {"dir": directory, "port": self.port, "admin": free_port(), **values}.items():
            text = text.replace("{%s}" % name, str(value))
        file = directory / template
        file.write_text(text)
        self.process = subprocess.Popen(["taskset", "-c", str(core), *command(str(file))], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(500):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise SystemExit(f"{template}: does not answer")

    def cpu_seconds(self):
        return sum(cpu_of(pid) for pid in [self.process.pid, *children(self.process.pid)])

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


def children(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        for child in open(f"/proc/{pid}/task/{task}/children").read().split():
            found += [int(child), *children(int(child))]
    return found


def cpu_of(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def measure(server, path, connections, seconds):
    headers = [part for name, value in BROWSER.items() for part in ("-H", f"{name}: {value}")]
    before = server.cpu_seconds()
    out = subprocess.run(
        ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *headers, f"http://127.0.0.1:{server.port}{path}"],
        capture_output=True, text=True, check=True,
    ).stdout
    cpu = server.cpu_seconds() - before
    requests = int(re.search(r"(\d+) requests in", out)[1])
    if "Non-2xx" in out:
        raise SystemExit(f"errors from the server:\n{out}")
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", out)
    return {
        "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]),
        "cpu_us": cpu * 1e6 / requests,
        "p99_ms": float(p99[1]) * {"us": 0.001, "ms": 1, "s": 1000}[p99[2]],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", default="hit1k")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    top = pathlib.Path(tempfile.mkdtemp(prefix="bench-"))
    top.chmod(0o755)
    servers = {}
    origin = Server(top / "origin", "origin.conf", lambda file: ["nginx", "-c", file], 1)
    www = top / "origin" / "www"
    www.mkdir()
    for case, size in CASES.items():
        (www / case).write_bytes(os.urandom(size))
    try:
        for peer in options.peers.split(","):
            template, command = PEERS[peer]
            servers[peer] = Server(top / peer, template, command, 0, origin=origin.port)
        for case in options.cases.split(","):
            results = {peer: [] for peer in servers}
            for server in servers.values():
                measure(server, f"/{case}", options.connections, 1)
            for _ in range(options.rounds):
                for peer, server in servers.items():
                    results[peer].append(measure(server, f"/{case}", options.connections, options.seconds))
            print(f"{case}: {options.connections} connections, {options.rounds} rounds of {options.seconds} s")
            for peer, rounds in results.items():
                middle = {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
                print(f"  {peer:<10} {middle['rate']:>9.0f}/s   {middle['cpu_us']:6.2f} µs CPU a request   p99 {middle['p99_ms']:.2f} ms")
    finally:
        for server in [*servers.values(), origin]:
            server.stop()
        shutil.rmtree(top)
    return 0


if __name__ == "__main__":
    sys.exit(main())
