#!/usr/bin/python3
"""Replays a real web server's log (EPA-HTTP, 1995) through the accelerator in front of a slow origin, checks every byte, and tells what the cache was worth.

The origin gives each path its logged size; the body is derived from the path, so that a byte from another response, or in the wrong place, is found.
`replay.py --help` lists the options; `make replay` runs the whole log."""
import argparse
import asyncio
import hashlib
import multiprocessing
import os
import pathlib
import re
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
from harness.outrigger import Outrigger

LINE = re.compile(r'^(\S+) \[[^\]]*\] "(.*)" (\d{3}|-) (\d+|-)$')
DELAY_SECONDS = 0.020


class Site:
    """What the log says of each path: status and size; the first 200 counts."""

    def __init__(self, log, limit):
        self.pages, self.requests, self.skipped = {}, [], 0
        for line in log.read_text(encoding="latin-1").splitlines():
            parsed = LINE.match(line)
            words = parsed[2].split(" ") if parsed else []
            target = "%20".join(words[1:-1]) if len(words) > 2 else words[1] if len(words) == 2 else ""
            if not target.startswith("/") or words[0] not in ("GET", "HEAD", "POST") or not re.fullmatch(r"[!-~]+", target):
                self.skipped += 1
                continue
            target = target.split("#")[0].replace('"', "%22")
            status = int(parsed[3]) if parsed[3] != "-" else 200
            size = int(parsed[4]) if parsed[4] != "-" else 0
            known = self.pages.get(target)
            if known is None or (known[0] != 200 and status == 200):
                self.pages[target] = (200 if status in (304, 206) else status, size)
            self.requests.append((words[0], target))
            if limit and len(self.requests) == limit:
                break

    def body(self, target):
        return hashlib.shake_128(target.encode()).digest(self.pages[target][1])

    @staticmethod
    def is_dynamic(method, target):
        return method == "POST" or "?" in target or "/cgi-bin/" in target


def serve_origin(site, port, counter):
    async def connection(reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                method, target, _ = head.split("\r\n")[0].split(" ")
                counter.value += 1
                await asyncio.sleep(DELAY_SECONDS)
                status, body = site.pages[target][0], site.body(target)
                control = "no-store" if site.is_dynamic(method, target) else "max-age=3600"
                writer.write(f"HTTP/1.1 {status} Logged\r\nCache-Control: {control}\r\nContent-Length: {len(body)}\r\n\r\n".encode())
                if method != "HEAD":
                    writer.write(body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def main():
        server = await asyncio.start_server(connection, "127.0.0.1", port, backlog=1024)
        async with server:
            await server.serve_forever()

    asyncio.run(main())


class Tally:
    def __init__(self):
        self.latencies, self.hits, self.hit_bytes, self.bytes, self.wrong = [], 0, 0, 0, 0


async def fetch(reader, writer, method, target):
    """(status, fields in lower case, body) of one request."""
    writer.write(f"{method} {target} HTTP/1.1\r\nHost: www.epa.gov\r\n{'Content-Length: 0' + chr(13) + chr(10) if method == 'POST' else ''}\r\n".encode())
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines[1:-2])}
    status = int(lines[0].split(" ")[1])
    body = b"" if method == "HEAD" or status in (204, 304) else await reader.readexactly(int(fields["content-length"]))
    return status, fields, body


async def replay(site, port, clients):
    tally, queue = Tally(), iter(site.requests)

    async def client():
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        for method, target in queue:
            began = time.perf_counter()
            status, fields, body = await fetch(reader, writer, method, target)
            tally.latencies.append(time.perf_counter() - began)
            expected = site.body(target) if body or (method != "HEAD" and status not in (204, 304)) else b""
            tally.wrong += status != site.pages[target][0] or body != expected
            tally.bytes += len(body)
            if "; hit" in fields.get("cache-status", ""):
                tally.hits += 1
                tally.hit_bytes += len(body)
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return tally


def show(name, tally, origin_requests):
    milliseconds = sorted(1000 * latency for latency in tally.latencies)
    print(
        f"{name:<12} {len(milliseconds):>8} requests {origin_requests:>8} at the origin   median {statistics.median(milliseconds):7.2f} ms"
        f"   p99 {milliseconds[int(len(milliseconds) * 0.99)]:7.2f} ms   hit ratio {100 * tally.hits / len(milliseconds):5.1f} %"
        f"   byte hit ratio {100 * tally.hit_bytes / max(1, tally.bytes):5.1f} %   wrong {tally.wrong}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--log", type=pathlib.Path, default=ROOT / "tests" / "data" / "epa-http.txt")
    parser.add_argument("--limit", type=int, default=0, help="replay only so many requests (default: all)")
    parser.add_argument("--clients", type=int, default=32, help="connections at a time")
    parser.add_argument("--memory", default="64MiB", help="cache.memory")
    parser.add_argument("--without", action="store_true", help="measure the origin alone as well")
    options = parser.parse_args()
    os.chdir(ROOT)
    site = Site(options.log, options.limit)
    print(f"{len(site.requests)} requests for {len(site.pages)} paths ({site.skipped} log lines that are no request for one are left out)")
    counter = multiprocessing.Value("Q", 0)
    from harness.ports import free_port

    port = free_port()
    origin = multiprocessing.Process(target=serve_origin, args=(site, port, counter), daemon=True)
    origin.start()
    wrong = 0
    with tempfile.TemporaryDirectory() as directory:
        outrigger = Outrigger(pathlib.Path(directory), origin=f"http://127.0.0.1:{port}", config={"cache": {"memory": options.memory}})
        try:
            runs = [("accelerated", outrigger.port)] + ([("origin alone", port)] if options.without else [])
            for name, target in runs:
                before = counter.value
                tally = asyncio.run(replay(site, target, options.clients))
                show(name, tally, counter.value - before)
                wrong += tally.wrong
        finally:
            outrigger.stop()
            origin.terminate()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
