"""Many clients of every kind at once, and origins that misbehave: every whole answer is right, and afterwards nothing is left behind.

SOAK_REQUESTS sets how many requests there are; the clients' choices follow from the seeds, so that a failure can be run again."""
import contextlib
import os
import random
import threading

import pytest

from harness.http import Connection, Truncated
from harness.outrigger import BINARY, SLOW
from harness.poll import until

REQUESTS = int(os.environ.get("SOAK_REQUESTS", "6000" if SLOW == 1 else "2000"))
CLIENTS = 6
SIZES = [0, 1, 100, 100, 5000, 5000, 17000, 70000, 300000]
KINDS = ["length", "length", "length", "chunked", "chunked", "close", "private", "vary", "etag", "cut", "cutchunks", "reset", "garbage", "behind"]
FAULTY = {"cut", "cutchunks", "reset", "garbage"}
LIFETIME = "Cache-Control: max-age=60\r\n"


def body_of(target, variant=""):
    """What the whole response of a target is: /kind/size/number."""
    _, _, size, _ = target.split("/")
    word = f"{target}{variant}.".encode()
    return (word * (int(size) // len(word) + 1))[: int(size)]


def in_chunks(body):
    return b"".join(b"%x\r\n" % len(body[at : at + 7000]) + body[at : at + 7000] + b"\r\n" for at in range(0, len(body), 7000))


def misbehave(request):
    if request.method == "POST":
        request.answer(request.body, fields={"Cache-Control": "no-store"})
        return
    kind = request.target.split("/")[1]
    variant = request.get("x-kind", "") if kind == "vary" else ""
    body = body_of(request.target, variant)
    head = "HTTP/1.1 200 OK\r\n"
    length = f"Content-Length: {len(body)}\r\n"
    if request.method == "HEAD":
        request.send(f"{head}{LIFETIME}{length}\r\n")
    elif kind == "length":
        request.send(f"{head}{LIFETIME}ETag: \"x\"\r\n{length}\r\n".encode() + body)
    elif kind == "chunked":
        request.send(f"{head}{LIFETIME}Transfer-Encoding: chunked\r\n\r\n".encode() + in_chunks(body) + b"0\r\n\r\n")
    elif kind == "close":
        request.send(f"{head}{LIFETIME}\r\n".encode() + body)
        raise Truncated
    elif kind == "private":
        request.send(f"{head}Cache-Control: private\r\n{length}\r\n".encode() + body)
    elif kind == "vary":
        request.send(f"{head}{LIFETIME}Vary: X-Kind\r\n{length}\r\n".encode() + body)
    elif kind == "etag":
        if request.get("if-none-match") == '"e"':
            request.send("HTTP/1.1 304 Not Modified\r\nCache-Control: no-cache\r\nETag: \"e\"\r\n\r\n")
        else:
            request.send(f"{head}Cache-Control: no-cache\r\nETag: \"e\"\r\n{length}\r\n".encode() + body)
    elif kind == "cut":
        request.send(f"{head}{LIFETIME}Content-Length: {len(body) + 1}\r\n\r\n".encode() + body[: len(body) // 2])
        raise Truncated
    elif kind == "cutchunks":
        request.send(f"{head}{LIFETIME}Transfer-Encoding: chunked\r\n\r\n".encode() + in_chunks(body))
        raise Truncated
    elif kind == "behind":
        request.send(f"{head}{LIFETIME}{length}\r\n".encode() + body + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    elif kind == "garbage":
        request.send(b"\x16\x03\x01" + body)
        raise Truncated
    else:
        raise Truncated


class Client:
    """One client after the other on a thread of its own, each with its choices."""

    def __init__(self, outrigger, seed, count):
        self.outrigger, self.random, self.count, self.failures, self.answers = outrigger, random.Random(seed), count, [], 0
        self.seed = seed
        self.connection = None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while self.count > 0:
            try:
                self.connection = Connection(self.outrigger.port, timeout=60, receive_buffer=self.random.choice([None, None, 4096]))
                while self.count > 0 and self.one():
                    pass
            except Exception as failure:
                self.failures.append(f"seed {self.seed}, {self.count} left: {failure!r}")
                self.count -= 1
            self.connection.close()

    def expect(self, what, truth):
        if not truth:
            self.failures.append(f"seed {self.seed}, {self.count} left: {what}")

    def target(self):
        return f"/{self.random.choice(KINDS)}/{self.random.choice(SIZES)}/{min(int(self.random.expovariate(0.05)), 200)}"

    def one(self):
        """False: the connection is used up."""
        self.count -= 1
        deed = self.random.choice([self.get] * 8 + [self.pipeline, self.post, self.post, self.abort, self.abort_upload, self.old, self.half_closed])
        return deed()

    def check_get(self, target, variant, response, wanted=slice(None)):
        kind, body = target.split("/")[1], body_of(target, variant)
        self.answers += 1
        if kind in FAULTY:
            self.expect(f"{target}: {response}", response.status in (502, 503, 504) or not response.complete)
        else:
            self.expect(f"{target}: {response}", response.complete and response.status in (200, 206) and response.body == body[wanted])
        return response.complete and response.get("connection") != "close"

    def get(self):
        target, variant = self.target(), self.random.choice(["a", "b"])
        fields, wanted, method = {"X-Kind": variant}, slice(None), "GET"
        variant = variant if target.startswith("/vary/") else ""
        size = int(target.split("/")[2])
        choice = self.random.random()
        if choice < 0.1 and size > 10:
            first = self.random.randrange(size - 1)
            fields["Range"] = f"bytes={first}-"
            response = self.connection.request(target, fields=fields)
            return self.check_get(target, variant, response, slice(first, None) if response.status == 206 else slice(None))
        if choice < 0.2:
            response = self.connection.request(target, method="HEAD", fields=fields)
            self.answers += 1
            self.expect(f"HEAD {target}: {response}", response.status in (200, 502, 503, 504))
            return response.get("connection") != "close"
        if choice < 0.3 and target.startswith("/length/"):
            response = self.connection.request(target, fields={**fields, "If-None-Match": '"x"'})
            self.answers += 1
            self.expect(f"conditional {target}: {response}", response.status == 304)
            return response.get("connection") != "close"
        return self.check_get(target, variant, self.connection.request(target, method=method, fields=fields), wanted)

    def pipeline(self):
        targets = [f"/{self.random.choice(['length', 'chunked', 'private', 'etag'])}/{self.random.choice(SIZES)}/{self.random.randrange(30)}" for _ in range(5)]
        self.connection.send("".join(f"GET {target} HTTP/1.1\r\nHost: site.test\r\n\r\n" for target in targets))
        return all([self.check_get(target, "", self.connection.response()) for target in targets])

    def post(self):
        body = self.random.randbytes(self.random.choice([0, 10, 3000, 100000]))
        if self.random.random() < 0.5:
            response = self.connection.request("/echo", method="POST", body=body)
        else:
            response = self.connection.request("/echo", method="POST", fields={"Transfer-Encoding": "chunked"}, body=in_chunks(body) + b"0\r\n\r\n")
        self.answers += 1
        self.expect(f"POST: {response}", response.status == 200 and response.body == body)
        return response.get("connection") != "close"

    def abort(self):
        self.connection.send(f"GET {self.target()} HTTP/1.1\r\nHost: site.test\r\n\r\n")
        if self.random.random() < 0.5:
            self.connection.socket.recv(1000)
        if self.random.random() < 0.5:
            self.connection.reset()
        return False

    def abort_upload(self):
        self.connection.send("POST /echo HTTP/1.1\r\nHost: site.test\r\nContent-Length: 5000\r\n\r\n" + "x" * self.random.randrange(5000))
        if self.random.random() < 0.5:
            self.connection.reset()
        return False

    def old(self):
        target = self.target()
        self.check_get(target, "", self.connection.request(target, version="1.0"))
        return False

    def half_closed(self):
        target = self.target()
        self.connection.send(f"GET {target} HTTP/1.1\r\nHost: site.test\r\n\r\n")
        with contextlib.suppress(OSError):  # a reset may have been the answer
            self.connection.end_sending()
        response = self.connection.response()
        self.check_get(target, "", response)
        self.expect(f"{target}: bytes behind the answer", not response.complete or self.connection.read_to_end() == b"")
        return False


def memory(outrigger):
    """Private memory of the proxy: all but the slab, which is bounded by its size."""
    with open(f"/proc/{outrigger.children('proxy')[0]}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("RssAnon"))


def is_idle(outrigger):
    return (outrigger.metric("outrigger_client_connections") <= 1 and outrigger.metric("outrigger_cache_fills") == 0
            and outrigger.metric("outrigger_origin_connections") == outrigger.metric("outrigger_origin_connections_idle"))


def load(outrigger, requests, seed):
    clients = [Client(outrigger, seed + n, requests // CLIENTS) for n in range(CLIENTS)]
    for client in clients:
        client.thread.join()
    assert [failure for client in clients for failure in client.failures] == []
    assert sum(client.answers for client in clients) > requests // 2
    until(lambda: is_idle(outrigger), timeout=20 * SLOW, what="the end of everything that was under way")


@pytest.mark.threads
def test_every_answer_is_right_and_nothing_is_left_behind(make_outrigger, origin):
    origin.on("*", misbehave)
    outrigger = make_outrigger(origin=origin.url, site={"down": 0, "pool": {"connections": 4, "idle": "300ms"}}, config={"cache": {"memory": "8MiB"}})
    process = outrigger.await_children("proxy", 1)

    def descriptors():
        return len(os.listdir(f"/proc/{process[0]}/fd"))

    load(outrigger, REQUESTS // 4, seed=1000)
    until(lambda: outrigger.metric("outrigger_origin_connections") == 0, timeout=20 * SLOW, what="idle connections to the origin to be closed")
    before, descriptors_before = memory(outrigger), descriptors()
    load(outrigger, REQUESTS, seed=2000)
    until(lambda: outrigger.metric("outrigger_origin_connections") == 0, timeout=20 * SLOW, what="idle connections to the origin to be closed")
    until(lambda: descriptors() <= descriptors_before, what="the descriptors to be closed")
    if "address" not in BINARY and "thread" not in BINARY:
        assert memory(outrigger) - before < 2 << 20, f"{(memory(outrigger) - before) >> 10} KiB grew"
    assert outrigger.children("proxy") == process, "the same process all the time"
    assert outrigger.metric("outrigger_cache_evictions_total") > 0
