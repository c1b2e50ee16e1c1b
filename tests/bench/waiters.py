#!/usr/bin/python3
"""How long a byte that the origin sent takes to reach those who wait for it: one cold key, a response in slow chunks that each carry the time at which
they were sent, and many clients that share the fetch. The same clients straight at the origin are the measure.

    tests/bench/waiters.py [--clients 64] [--chunks 40] [--every 0.05]"""
import argparse
import multiprocessing
import pathlib
import selectors
import socket
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))
from harness.outrigger import Outrigger  # noqa: E402

STAMP = 20  # bytes of a chunk: CLOCK_MONOTONIC in nanoseconds, the same for all processes of a machine


def serve(listener, clients, chunks, every):
    """One response to all who connected: `clients` of them, or the one that a cache sends."""
    connections = [listener.accept()[0] for _ in range(clients)]
    for connection in connections:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: %d\r\n\r\n" % (STAMP * chunks))
    for _ in range(chunks):
        time.sleep(every)
        for connection in connections:
            connection.sendall(b"%0*d" % (STAMP, time.monotonic_ns()))
    for connection in connections:
        connection.recv(1)
        connection.close()


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.sendall(b"GET /slow HTTP/1.1\r\nHost: site.test\r\n\r\n")
        self.received, self.at = b"", 0  # `at`: of the next chunk; 0: the head is not complete

    def take(self):
        """Milliseconds from sent to arrived, of the chunks that came."""
        data, delays = self.socket.recv(65536), []
        now = time.monotonic_ns()
        if not data:
            raise SystemExit("a client's connection ended early")
        self.received += data
        if not self.at and b"\r\n\r\n" in self.received:
            self.at = self.received.index(b"\r\n\r\n") + 4
        while self.at and len(self.received) >= self.at + STAMP:
            delays.append((now - int(self.received[self.at : self.at + STAMP])) / 1e6)
            self.at += STAMP
        return delays


def receive(port, clients, chunks):
    selector, delays = selectors.DefaultSelector(), []
    for _ in range(clients):
        client = Client(port)
        selector.register(client.socket, selectors.EVENT_READ, client)
    while len(delays) < clients * chunks:
        for key, _ in selector.select():
            delays += key.data.take()
    for key in list(selector.get_map().values()):
        key.fileobj.close()
    return delays


def measure(port_of, clients, at_origin, chunks, every):
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    origin = multiprocessing.Process(target=serve, args=(listener, at_origin, chunks, every))
    origin.start()
    try:
        port, stop = port_of(listener.getsockname()[1])
        delays = receive(port, clients, chunks)
        stop()
    finally:
        origin.join(5)
        origin.kill()
    return delays


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--chunks", type=int, default=40)
    parser.add_argument("--every", type=float, default=0.05, help="seconds between chunks")
    options = parser.parse_args()

    def behind_outrigger(origin_port):
        accelerator = Outrigger(pathlib.Path(tempfile.mkdtemp(prefix="waiters-")), f"http://127.0.0.1:{origin_port}")
        return accelerator.port, accelerator.stop

    cases = [("one client, from the origin", 1, 1, lambda port: (port, lambda: None)), ("one client, through", 1, 1, behind_outrigger)]
    cases += [(f"{options.clients} from the origin", options.clients, options.clients, lambda port: (port, lambda: None))]
    cases += [(f"{options.clients} who wait for one fetch", options.clients, 1, behind_outrigger)]
    for name, clients, at_origin, port_of in cases:
        delays = sorted(measure(port_of, clients, at_origin, options.chunks, options.every))
        print(f"{name:<28} median {statistics.median(delays):.2f}  p99 {delays[int(len(delays) * 0.99)]:.2f}  max {delays[-1]:.2f} ms  ({len(delays)} chunks)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
