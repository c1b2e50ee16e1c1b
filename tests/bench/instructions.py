#!/usr/bin/python3
"""Instructions that the proxy executes for a request, in user space, by function: callgrind counts them, so that they are the same on a busy machine.

    tests/bench/instructions.py [--cases hit,…] [--requests 1600] [--top 25] [--json FILE]

Of them, those are told apart that lock the memory they change (x86: the prefix, and xchg): each costs some ten others where its cache line is this core's,
and a hundred or more where another core has written it.

Each case is run twice in processes of their own, with few requests and with --requests more of them; what is between the two is these requests'. Beside
them lies only the loop's tick (LOOP_TICK_MS), a few instructions a request. The kernel's part is not in it: count the system calls."""
import argparse
import collections
import functools
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time

from measurement import workplace
from place import write_certificate
from servers import HERE, PROGRAMS, ROOT, Origin, children, fill_in, free_port

# Part of the figure: what is tracked over the years is one and the same request.
FIELDS = [
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-GB,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br",
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark",
]
FEW = 200
PATIENCE_SECONDS = 120
DEPTH = 16  # requests to a write, pipelined
STREAMS = 32  # requests to a write, of HTTP/2


def request(path):
    return ("GET %s HTTP/1.1\r\nHost: www.example.com\r\n%s\r\n\r\n" % (path, "\r\n".join(FIELDS))).encode()


class Client:
    """One connection; the next request, or batch, goes out when the last response is there."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = b""

    def receive(self):
        got = self.socket.recv(1 << 20)
        if not got:
            sys.exit("the proxy has closed the connection")
        self.input += got

    def response(self):
        while b"\r\n\r\n" not in self.input:
            self.receive()
        head, rest = self.input.split(b"\r\n\r\n", 1)
        length = int(re.search(rb"(?i)\r\ncontent-length: *(\d+)", head).group(1))
        while len(rest) < length:
            self.input = b""
            self.receive()
            rest += self.input
        if not head.startswith(b"HTTP/1.1 200 "):
            sys.exit(head.decode(errors="replace"))
        self.input = rest[length:]
        return head

    def ask(self, paths):
        self.socket.sendall(b"".join(map(request, paths)))
        return [self.response() for _ in paths]


class NewClient(Client):
    """A connection for each request."""

    def __init__(self, port):
        super().__init__(port)
        self.port = port

    def ask(self, paths):
        heads = []
        for path in paths:
            self.socket.close()
            self.__init__(self.port)
            self.socket.sendall(request(path)[:-2] + b"Connection: close\r\n\r\n")
            heads.append(self.response())
        return heads


class TlsClient(NewClient):
    """A TLS 1.3 handshake for each request, which takes up the session of the last."""

    RESUMES = True

    def __init__(self, port):
        Client.__init__(self, port)
        self.port = port
        if not hasattr(self, "context"):
            self.context, self.session = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), None
            self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
            self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.socket = self.context.wrap_socket(self.socket, server_hostname="localhost", session=self.session)
        if self.session and not self.socket.session_reused:
            sys.exit("the proxy does not resume the session")

    def response(self):
        head = super().response()
        self.session = self.socket.session if self.RESUMES else None
        return head


class FullTlsClient(TlsClient):
    """The same without a session."""

    RESUMES = False


class Http2Client(Client):
    """The same by HTTP/2, without TLS: one write has all requests, as streams of one connection, and their windows never close."""

    WINDOW = (1 << 31) - 1
    DATA, HEADERS, SETTINGS, WINDOW_UPDATE, END_STREAM, ACK, END_HEADERS = 0, 1, 4, 8, 1, 1, 4

    def __init__(self, port):
        super().__init__(port)
        import hpack  # python3-hpack: the other cases do without

        self.encoder, self.decoder, self.next_stream = hpack.Encoder(), hpack.Decoder(), 1
        self.socket.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + self.frame(self.SETTINGS, 0, 0, struct.pack(">HI", 4, self.WINDOW))
            + self.frame(self.WINDOW_UPDATE, 0, 0, struct.pack(">I", self.WINDOW - 65535))
        )

    def frame(self, kind, flags, stream, payload=b""):
        return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload

    def request(self, path):
        fields = [(":method", "GET"), (":scheme", "http"), (":authority", "www.example.com"), (":path", path)]
        fields += [(name.lower(), value) for name, value in (field.split(": ", 1) for field in FIELDS)]
        self.next_stream += 2
        return self.frame(self.HEADERS, self.END_STREAM | self.END_HEADERS, self.next_stream - 2, self.encoder.encode(fields))

    def next_frame(self):
        while len(self.input) < 9 or len(self.input) < 9 + int.from_bytes(self.input[:3], "big"):
            self.receive()
        length, kind, flags = int.from_bytes(self.input[:3], "big"), self.input[3], self.input[4]
        payload, self.input = self.input[9 : 9 + length], self.input[9 + length :]
        return kind, flags, payload

    def ask(self, paths):
        self.socket.sendall(b"".join(map(self.request, paths)))
        heads, ended = [], 0
        while ended < len(paths):
            kind, flags, payload = self.next_frame()
            if kind == self.SETTINGS and not flags & self.ACK:
                self.socket.sendall(self.frame(self.SETTINGS, self.ACK, 0))
            elif kind == self.HEADERS:
                heads.append(b"".join(b"%s: %s\r\n" % field for field in self.decoder.decode(payload, raw=True)))
            if kind == self.HEADERS and not heads[-1].startswith(b":status: 200"):
                sys.exit(heads[-1].decode(errors="replace"))
            ended += kind in (self.DATA, self.HEADERS) and flags & self.END_STREAM
        return heads


def one_at_a_time(path):
    def ask(client, requests):
        for number in range(requests):
            client.ask([path.replace("%u", str(number))])

    return ask


def together(path, count):
    def ask(client, requests):
        for _ in range(requests // count):
            client.ask([path] * count)

    return ask


class Case(collections.namedtuple("Case", "says ask settings expects client", defaults=[Client])):
    """`expects`: what Cache-Status says of the last one."""


CASES = {
    "hit": Case("1 KB hit, kept alive, one at a time: a turn of the loop each", one_at_a_time("/s/1024/object"), {}, "hit"),
    "pipelined": Case(f"1 KB hit, {DEPTH} requests to a read", together("/s/1024/object", DEPTH), {}, "hit"),
    "logged": Case("1 KB hit with an access log", one_at_a_time("/s/1024/object"), {"access_log": "{dir}/access.log"}, "hit"),
    "100k": Case("100 KB hit", one_at_a_time("/s/102400/object"), {}, "hit"),
    "h2": Case(f"1 KB hit over HTTP/2, {STREAMS} requests to a read", together("/s/1024/object", STREAMS), {}, "hit", Http2Client),
    "newconn": Case("1 KB hit on a connection of its own", one_at_a_time("/s/1024/object"), {}, "hit", NewClient),
    "handshake": Case("1 KB hit after a TLS 1.3 handshake of its own", one_at_a_time("/s/1024/object"), {}, "hit", FullTlsClient),
    "resumed": Case("1 KB hit after a resumed TLS 1.3 handshake", one_at_a_time("/s/1024/object"), {}, "hit", TlsClient),
    "miss": Case("1 KB miss, stored", one_at_a_time("/s/1024/%u"), {}, "stored"),
    "pass": Case("pass-through, no-store", one_at_a_time("/count"), {}, "fwd"),
}


def configured(directory, case, port, origin):
    file, values = directory / "outrigger.yaml", {"port": port, "admin": free_port(), "origin": origin.port}
    if issubclass(case.client, TlsClient):
        values.update(write_certificate(directory), port=free_port(), tls_port=port)
    fill_in(HERE / "peers" / ("outrigger-tls.yaml" if "tls_port" in values else "outrigger.yaml"), file, values)
    text = file.read_text()
    if case.client is Http2Client:
        text = text.replace(f"- address: 127.0.0.1:{port}", f"- {{address: '127.0.0.1:{port}', http2: true}}")
    for key, value in case.settings.items():
        text = re.sub(r"(?m)^%s:.*$" % key, f"{key}: {value}".replace("{dir}", str(directory)), text)
    file.write_text(text)
    return file


def answering(client, port, server):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            return client(port)
        except OSError:
            time.sleep(0.1)
    sys.exit("the proxy does not start under callgrind")


def counted(directory, case, requests, origin):
    """Instructions by function of a whole life of the proxy that serves so many requests."""
    directory.mkdir()
    directory.chmod(0o777)
    out, port = directory / "callgrind.out", free_port()
    environment = {
        **os.environ,
        "LD_PRELOAD": str(PROGRAMS / "under_callgrind.so"),
        "OUTRIGGER_BINARY": str(ROOT / "build" / "outrigger"),
        "CALLGRIND_OUT": str(out),
    }
    with open(directory / "output", "wb") as output:
        command = [str(ROOT / "build" / "outrigger"), "-c", str(configured(directory, case, port, origin))]
        server = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        client = answering(case.client, port, server)
        warm = client.ask(["/s/1024/object"])
        case.ask(client, requests)
        last = client.ask(["/s/102400/object" if case is CASES["100k"] else "/s/1024/object"])[0] if case.expects == "hit" else warm[0]
        if case.expects == "hit" and b"; hit" not in last:
            sys.exit("no hit: " + last.decode())
        client.socket.close()
    finally:
        server.send_signal(signal.SIGQUIT)  # after SIGTERM there is little time for callgrind to write what it counted
        server.wait()
    return read_counts(out)


@functools.lru_cache(None)
def locked(binary):
    """Addresses of its instructions that lock memory."""
    if not os.path.exists(binary):
        return frozenset()
    listing = subprocess.run(["objdump", "-d", "--no-show-raw-insn", binary], stdout=subprocess.PIPE, text=True, check=True).stdout
    return frozenset(int(at, 16) for at in re.findall(r"(?m)^ *([0-9a-f]+):\t(?:lock |xchg .*\()", listing))


def read_counts(out):
    """Of callgrind's file, (all, locked) by function: lines of addresses and costs belong to the function named last, those after `calls=` to the called one."""
    counts, locks, names, function, is_call, library, locking = collections.Counter(), collections.Counter(), {}, None, False, "", ()
    for line in out.read_text().splitlines():
        if line.startswith("ob="):
            number, _, name = line.partition(" ")
            names[number] = name or names[number]
            library, locking = names[number].rsplit("/", 1)[-1], locked(names[number])
        elif line.startswith("fn="):
            number, _, name = line[3:].partition(" ")
            names[number] = name or names[number]
            function = f"{library} {names[number]}" if names[number].startswith("0x") else names[number]
        elif line.startswith(("cfn=", "cob=")):
            number, _, name = line[1 if line.startswith("cob=") else 4 :].partition(" ")
            names[number] = name or names[number]
        elif line.startswith("calls="):
            is_call = True
        elif line.startswith("0x") and function:
            address, count = line.split()
            if not is_call:
                counts[function] += int(count)
                locks[function] += int(count) if int(address, 16) in locking else 0
            is_call = False
    return counts, locks


def measure(top, name, options, origin):
    few, many = (counted(top / f"{name}-{n}", CASES[name], n, origin) for n in (FEW, FEW + options.requests))
    for i in range(2):
        many[i].subtract(few[i])
    return [{function: count / options.requests for function, count in counts.items() if count > 0} for counts in many]


def show(name, measured, options):
    functions, locks = measured
    total, total_locked = sum(functions.values()), sum(locks.values())
    print(f"{name}: {total:.0f} instructions a request, {total_locked:.1f} of them locked   ({CASES[name].says})")
    for function, count in sorted(functions.items(), key=lambda item: -item[1])[: options.top]:
        print(f"  {count:8.0f}  {100 * count / total:4.1f} %  {function}")
    where = ", ".join(f"{count:.2f} {function}" for function, count in sorted(locks.items(), key=lambda item: -item[1]) if count >= 0.01)
    print(f"  locked: {where}")
    return {"instructions": round(total), "functions": {f: round(c, 1) for f, c in functions.items() if c >= 1},
            "locked": {f: round(c, 2) for f, c in locks.items() if c >= 0.01}}


def main():
    words = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    words.add_argument("--cases", default=",".join(CASES))
    words.add_argument("--requests", type=int, default=1600)
    words.add_argument("--top", type=int, default=25)
    words.add_argument("--json", type=pathlib.Path)
    options = words.parse_args()
    results = {}
    with workplace("instructions-") as top:
        origin = Origin(top / "origin")
        try:
            for name in options.cases.split(","):
                results[name] = show(name, measure(top, name, options, origin), options)
        finally:
            origin.stop()
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
