"""After a long mixed run, memory and descriptors of every process are where they were."""
import collections
import os
import signal
import threading

import pytest

from harness.http import Truncated
from harness.origin import CloseConnection
from harness.outrigger import SLOW
from harness.poll import until

REQUESTS = int(os.environ.get("OUTRIGGER_LEAK_REQUESTS", 20_000)) // SLOW
CLIENTS = 8
SLACK_BYTES = 1 << 20  # of resident memory, for pages that malloc has not given back
ROLES = ("proxy", "disk", "resolver", "log")


def descriptors(pid):
    """What each of them is, so that a failure says what was left open."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}").split(":")[0])
        except OSError:
            pass
    return collections.Counter(found)


def resident(pid):
    """Without the shared slab: what is stored there is no leak."""
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("Pss_Anon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no Pss_Anon")


def family(outrigger):
    return [outrigger.process.pid] + [pid for role in ROLES for pid in outrigger.children(role)]


class Mix:
    """Every kind of request there is, in turn; `done` counts them."""

    def __init__(self, outrigger, origin):
        self.outrigger, self.lock, self.done, self.failures = outrigger, threading.Lock(), 0, []
        origin.on("*", lambda request: request.answer(b"passed", fields={"Cache-Control": "no-store"}))
        origin.on("/stored", b"stored")
        origin.on("/large", b"x" * 300_000)
        origin.on("/unique", lambda request: request.answer(b"unique", fields={"Cache-Control": "max-age=1"}))
        origin.on("/stale", lambda request: request.answer(status="304 Not Modified", length=False) if request.get("if-none-match")
                  else request.answer(b"stale", fields={"Cache-Control": "no-cache", "ETag": '"1"'}))
        origin.on("/vary", lambda request: request.answer(b"vary", fields={"Cache-Control": "max-age=60", "Vary": "Accept-Language"}))
        origin.on("/cut", self._cut)
        origin.on("/closed", self._closed)
        origin.on("/chunked", lambda request: request.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nchunk\r\n0\r\n\r\n"))
        origin.on("/tunnel", self._tunnel)
        self.kinds = [self.hit, self.hit, self.miss, self.passed, self.upload, self.stale, self.range, self.head, self.file, self.unread, self.cut, self.refused, self.bad,
                      self.purge, self.unknown_site, self.vary, self.closed, self.chunked, self.tunnel, self.pipelined, self.other_origin]

    @staticmethod
    def _cut(request):
        request.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 1000\r\n\r\ncut")
        raise CloseConnection

    @staticmethod
    def _closed(request):
        raise CloseConnection

    @staticmethod
    def _tunnel(request):
        request.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        request.send(request.connection.read_exactly(4))
        raise CloseConnection

    def expect(self, status, *arguments, **options):
        answer = self.outrigger.get(*arguments, **options)
        assert answer.status == status, (arguments, answer)
        return answer

    def hit(self, n):
        self.expect(200, "/stored")

    def miss(self, n):
        self.expect(200, f"/unique?{n}")

    def passed(self, n):
        self.expect(200, f"/passed/{n}")

    def upload(self, n):
        self.expect(200, "/upload", method="POST", body=b"u" * 5000)

    def stale(self, n):
        self.expect(200, "/stale")

    def range(self, n):
        assert self.expect(206, "/large", fields={"Range": "bytes=100-199"}).body == b"x" * 100

    def head(self, n):
        self.expect(200, f"/head/{n}", method="HEAD")

    def file(self, n):
        self.expect(200, f"/file?{n % 50}", host="files.test")

    def unread(self, n):
        """The client leaves in the middle of its answer."""
        with self.outrigger.connect() as client:
            client.send(f"GET /large?{n % 10} HTTP/1.1\r\nHost: site.test\r\n\r\n").read_exactly(100)

    def cut(self, n):
        try:
            answer = self.outrigger.get("/cut")
            assert answer.status == 502 or not answer.complete  # 502: nothing had been sent yet
        except Truncated:
            pass

    def refused(self, n):
        assert self.outrigger.get("/", host="down.test").status in (502, 503)

    def bad(self, n):
        with self.outrigger.connect() as client:
            assert client.send("GET / HTTP/1.1\r\nHost: a b\r\n\r\n").read_to_end().startswith(b"HTTP/1.1 400")

    def purge(self, n):
        self.expect(200, f"/unique?{n - CLIENTS}", method="PURGE")

    def unknown_site(self, n):
        self.expect(404, "/", host="unknown.example")

    def vary(self, n):
        self.expect(200, "/vary", fields={"Accept-Language": f"x-{n % 100}"})

    def closed(self, n):
        self.expect(502, "/closed")

    def chunked(self, n):
        assert self.expect(200, "/chunked").body == b"chunk"

    def tunnel(self, n):
        with self.outrigger.connect() as client:
            client.send("GET /tunnel HTTP/1.1\r\nHost: site.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nping")
            assert client.head().status == 101 and client.read_to_end() == b"ping"

    def pipelined(self, n):
        with self.outrigger.connect() as client:
            client.send("GET /stored HTTP/1.1\r\nHost: site.test\r\n\r\n" * 10)
            assert [client.response().body for _ in range(10)] == [b"stored"] * 10

    def other_origin(self, n):
        self.expect(200, f"/named/{n}", host="named.test")

    def run(self, total):
        goal = self.done + total

        def work():
            while True:
                with self.lock:
                    n = self.done
                    if n >= goal or self.failures:
                        return
                    self.done += 1
                try:
                    self.kinds[n % len(self.kinds)](n)
                except Exception as failure:  # told below, with what was asked
                    self.failures.append((self.kinds[n % len(self.kinds)].__name__, repr(failure)))

        threads = [threading.Thread(target=work) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not self.failures, self.failures


@pytest.fixture
def mixed(make_outrigger, origin, tmp_path):
    root = tmp_path / "www"
    root.mkdir()
    (root / "file").write_bytes(b"f" * 20_000)
    outrigger = make_outrigger(config={
        "cache": {"memory": "16MiB"},
        "resolver": {"ttl_min": 0, "ttl_max": "1s"},
        "sites": [
            {"hosts": ["site.test"], "origin": origin.url, "pool": {"idle": "300ms"}},
            {"hosts": ["files.test"], "origin": f"files:{root}", "files": {"max_age": 0}},
            {"hosts": ["named.test"], "origin": f"http://localhost:{origin.port}", "pool": {"idle": "300ms"}},
            {"hosts": ["down.test"], "origin": "http://127.0.0.1:1"},
        ]})
    return outrigger, Mix(outrigger, origin)


def measure(outrigger):
    return {pid: (descriptors(pid), resident(pid)) for pid in family(outrigger)}


def assert_as_before(outrigger, before):
    assert family(outrigger) == list(before), "nobody was replaced"
    for pid, (open_before, bytes_before) in before.items():
        title = open(f"/proc/{pid}/cmdline").read().split("\0")[0]
        try:
            until(lambda: descriptors(pid) == open_before, what="the descriptors")
        except AssertionError:
            now = descriptors(pid)
            raise AssertionError(f"{title}: more open: {now - open_before}, less: {open_before - now}") from None
        if SLOW == 1:  # a sanitizer keeps freed memory for a while
            until(lambda: resident(pid) <= bytes_before + SLACK_BYTES, what=f"{title}: {bytes_before} resident bytes again; now: {resident(pid)}")


def await_rest(outrigger):
    """Nobody is connected but the one who asks for the metrics, and then that one's connection is gone as well: the descriptors stay the same."""
    until(lambda: outrigger.metric("outrigger_client_connections") == 1 and outrigger.metric("outrigger_origin_connections") == 0
          and outrigger.metric("outrigger_cache_fills") == 0 and outrigger.metric("outrigger_helper_queue_depth") == 0, what="everything to be at rest")
    seen = []
    until(lambda: seen.append([descriptors(pid) for pid in family(outrigger)]) or seen[-20:].count(seen[-1]) == 20, what="the descriptors to stay the same")


def test_memory_and_descriptors_are_where_they_were(mixed):
    outrigger, mix = mixed
    mix.run(REQUESTS // 4)  # what is kept for the next time is there now: spare requests, the cache's index, malloc's arenas
    await_rest(outrigger)
    before = measure(outrigger)
    mix.run(REQUESTS)
    await_rest(outrigger)
    assert_as_before(outrigger, before)
    assert outrigger.metric("outrigger_cache_memory_bytes", kind="allocated") <= 16 << 20 and outrigger.metric("outrigger_cache_objects") > 0
    outrigger.stop(signal.SIGQUIT)  # every process returns from its main: a sanitizer build looks for leaks then


def test_reloads_leave_nothing_behind(mixed):
    outrigger, mix = mixed
    for _ in range(10):
        outrigger.ctl("reload")
    mix.run(len(mix.kinds) * 5)
    await_rest(outrigger)
    before = measure(outrigger)
    for _ in range(100):
        outrigger.ctl("reload")
    mix.run(len(mix.kinds) * 5)
    await_rest(outrigger)
    assert_as_before(outrigger, before)
    outrigger.stop(signal.SIGQUIT)


def test_helpers_that_die_leave_nothing_behind_in_the_others(mixed):
    outrigger, mix = mixed
    mix.run(len(mix.kinds) * 5)

    def kill_each():
        for role in ("disk", "resolver", "log"):
            for pid in outrigger.children(role):
                count = len(outrigger.children(role))
                os.kill(pid, signal.SIGKILL)
                outrigger.await_children(role, count, without=pid)

    kill_each()
    await_rest(outrigger)
    lasting = (outrigger.process.pid, *outrigger.children("proxy"))
    before = {pid: descriptors(pid) for pid in lasting}
    for _ in range(3):
        kill_each()
    mix.run(len(mix.kinds) * 5)
    await_rest(outrigger)
    until(lambda: {pid: descriptors(pid) for pid in lasting} == before, what=f"{before} to be open again; now: {[descriptors(pid) for pid in lasting]}")
