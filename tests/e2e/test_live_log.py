"""outriggerctl log: requests as they end, to whoever asks for them."""
import json
import os
import signal
import subprocess
import threading

import pytest

from harness.http import Connection
from harness.load import Load
from harness.outrigger import CONTROL, SLOW
from harness.poll import until

pytestmark = pytest.mark.threads


class Viewer:
    """`outriggerctl log` with these arguments. `lines` is what it has printed."""

    def __init__(self, outrigger, *arguments):
        command = [CONTROL, "--socket", outrigger.socket, "log", *arguments]
        interruptible = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # tests may run in the background, where it is ignored
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=interruptible)
        self.lines = []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def await_line(self, part):
        return until(lambda: next((line for line in list(self.lines) if part in line), None), 30 * SLOW, f"a line with {part}")

    def end(self, number=signal.SIGINT):
        """Its exit status and what it said on stderr."""
        self.process.send_signal(number)
        return self.await_end()

    def await_end(self):
        self.process.wait(30 * SLOW)
        self.thread.join(30 * SLOW)
        errors = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        return self.process.returncode, errors

    def await_start(self, outrigger, target="/probe"):
        """Asks for `target`, which has to be one that it shows, until it is shown. Returns the first line."""
        return until(lambda: outrigger.get(target) and self.lines and self.lines[0], 30 * SLOW, "a first line")


@pytest.fixture
def view():
    viewers = []

    def start(*arguments):
        viewers.append(Viewer(*arguments))
        return viewers[-1]

    yield start
    for viewer in viewers:
        if viewer.process.poll() is None:
            viewer.end(signal.SIGKILL)


class Stream:
    """GET /log as it comes; it has begun when this is made."""

    def __init__(self, outrigger, query=""):
        self.connection = Connection(outrigger.socket, timeout=30 * SLOW).send(f"GET /log{query} HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.head = self.connection.head()
        self.lines, self.rest = [], b""

    def more(self):
        """False: it has ended."""
        data = self.connection.chunk()
        *lines, self.rest = (self.rest + data).split(b"\n")
        self.lines += [json.loads(line) for line in lines if line]
        return data != b""

    def until(self, condition):
        while not condition(self.lines):
            assert self.more()
        return self.lines

    def targets_until(self, last):
        """What was asked for, up to the request for `last`."""
        self.until(lambda lines: any(line.get("target") == last for line in lines))
        return [line["target"] for line in self.lines if "target" in line]


@pytest.fixture
def stream():
    streams = []

    def start(*arguments):
        streams.append(Stream(*arguments))
        return streams[-1]

    yield start
    for one in streams:
        one.connection.close()


def test_requests_are_shown_as_they_end(outrigger, origin, view):
    origin.on("*", b"x" * 2048)
    viewer = view(outrigger)
    viewer.await_start(outrigger)
    outrigger.get("/page?a=1")
    outrigger.get("/page?a=1")
    outrigger.get("/\xe2\x80\xaegpj")
    miss, hit = viewer.await_line("MISS        -"), viewer.await_line("HIT")
    assert viewer.await_line("GET http://site.test/page?a=1  127.0.0.1")
    assert " 200 " in miss and " 2.0 KiB " in hit and " ms " in hit
    assert viewer.await_line("/\\xe2\\x80\\xaegpj"), "clients do not talk to the terminal"
    assert viewer.end()[0] == -signal.SIGINT


def test_json_is_the_access_log_s_with_scheme_and_site(make_outrigger, origin, stream):
    outrigger = make_outrigger(origin=origin.url, config={"access_log": {"format": "json"}})
    origin.on("*", b"x")
    one = stream(outrigger)
    assert (one.head.status, one.head.get("content-type")) == (200, "application/x-ndjson")
    outrigger.get("/a", fields={"X-Request-Id": "an-id"})
    (shown,) = one.until(len)
    (logged,) = [json.loads(line) for line in outrigger.await_access_lines(1)]
    assert shown == {**logged, "scheme": "http", "site": "*"}


@pytest.mark.parametrize("query, expected", [
    ("", ["/hit", "/hit", "/missing", "/error", "/private", "/slow"]), ("?status=404", ["/missing"]), ("?status=4xx,500-503", ["/missing", "/error"]),
    ("?result=hit", ["/hit"]), ("?result=MISS&status=200", ["/hit", "/private", "/slow"]), ("?reason=private", ["/private"]), ("?slower-than=200ms", None),
    ("?url=/m", ["/missing"]), ("?url=http://site.test/h&result=miss", ["/hit"]), ("?url=other.test", []), ("?site=site.test&status=5xx", ["/error"])])
def test_filters(outrigger, origin, stream, query, expected):
    wait = threading.Event()
    origin.on("/hit", b"x")
    origin.on("/error", lambda request: request.answer(b"", status="500 Oh"))
    origin.on("/private", lambda request: request.answer(b"", fields={"Cache-Control": "private"}))
    origin.on("/slow", lambda request: wait.wait(0.25) or request.answer(b"", fields={"Cache-Control": "max-age=60"}))
    every, some = stream(outrigger), stream(outrigger, query)
    with outrigger.connect() as client:
        for target in ("/hit", "/hit", "/missing", "/error", "/private", "/slow"):
            client.request(target)
    assert every.targets_until("/slow") == ["/hit", "/hit", "/missing", "/error", "/private", "/slow"]
    expected = [line["target"] for line in every.lines if line["duration"] >= 0.2] if expected is None else expected  # others may have been slow, too
    some.until(lambda lines: len(lines) >= len(expected))
    if not expected:
        some.more()
    assert [line["target"] for line in some.lines if "target" in line] == expected


def test_of_a_burst_a_sample_is_shown_and_the_rest_counted(outrigger, origin, stream):
    """Whatever the rate: every request is shown or counted, and all are answered."""
    origin.on("/hot", b"hot")
    outrigger.get("/hot")
    outrigger.await_access_lines(1)  # it has ended here, too
    one = stream(outrigger)
    requests = b"GET /hot HTTP/1.1\r\nHost: site.test\r\n\r\n" * 3000
    with outrigger.connect() as client:
        sender = threading.Thread(target=client.send, args=(requests,))
        sender.start()
        for _ in range(3000):
            assert client.response().body == b"hot"
        sender.join()
    one.until(lambda lines: sum(line.get("left_out", 1) for line in lines) >= 3000)
    shown = [line for line in one.lines if "target" in line]
    assert sum(line.get("left_out", 1) for line in one.lines) == 3000 and len(shown) >= 100
    assert all(line["target"] == "/hot" for line in shown)


def test_a_viewer_that_does_not_read_costs_no_memory_and_the_others_go_on(outrigger, origin, stream):
    origin.on("/hot", b"hot")
    outrigger.get("/hot")
    deaf, other = stream(outrigger), stream(outrigger, "?url=/last")
    (proxy,) = outrigger.children("proxy")
    memory = lambda: int(open(f"/proc/{proxy}/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    with Load(outrigger, {"/hot": b"hot"}) as load:
        until(lambda: load.count > 2000, 60 * SLOW)
        before = memory()
        until(lambda: load.count > 6000, 60 * SLOW)
        assert memory() - before < (2 << 20) * SLOW
    assert load.failures == []
    outrigger.get("/last")
    assert other.targets_until("/last") == ["/last"]
    deaf.until(lambda lines: any(line.get("target") == "/last" or "left_out" in line for line in lines))


def test_several_viewers_and_one_too_many(outrigger, origin, stream, view):
    origin.on("*", b"x")
    streams = [stream(outrigger) for _ in range(8)]
    refused = view(outrigger).await_end()
    assert refused == (1, "outriggerctl: too many look at it already (status 503)\n")
    outrigger.get("/seen-by-all")
    for one in streams:
        assert one.targets_until("/seen-by-all") == ["/seen-by-all"]
    streams[0].connection.close()
    until(lambda: Stream(outrigger).head.status == 200, 30 * SLOW, "a place that is free again")


def test_it_ends_with_the_server(outrigger, origin, view):
    origin.on("*", b"x")
    viewer = view(outrigger, "--url", "/probe")
    viewer.await_start(outrigger)
    outrigger.ctl("drain")
    assert viewer.await_end() == (0, "outriggerctl: outrigger has ended\n")


def test_a_viewer_that_was_stopped_goes_on(outrigger, origin, view):
    """As by Ctrl-Z and fg."""
    origin.on("*", b"x")
    viewer = view(outrigger)
    viewer.await_start(outrigger)
    for turn in range(3):
        viewer.process.send_signal(signal.SIGSTOP)
        until(lambda: "State:\tT" in open(f"/proc/{viewer.process.pid}/status").read(), 30 * SLOW, "it to stand still")
        viewer.process.send_signal(signal.SIGCONT)
        outrigger.get(f"/after-{turn}")
        assert viewer.await_line(f"/after-{turn} ")


def test_what_is_watched_survives_a_reload(outrigger, origin, stream):
    origin.on("*", b"x")
    one = stream(outrigger, "?site=site.test")
    outrigger.get("/before")
    outrigger.reload()
    outrigger.get("/after")
    one.until(lambda lines: len(lines) >= 2)
    assert {line["target"] for line in one.lines} == {"/before", "/after"}


def test_live_requests_are_for_the_socket_only(outrigger):
    with Connection(outrigger.admin_port) as client:
        assert client.request("/log", host="localhost").status == 403
    with Connection(outrigger.socket) as client:
        assert client.request("/log", method="HEAD", host="localhost").status == 200
        assert client.request("/log", method="POST", host="localhost").status == 405


def test_filters_that_mean_nothing_are_refused(outrigger):
    for arguments, text in ((["--status", "40"], "status: 404, 4xx and 500-503 are some"), (["--result", "hits"], "result: one of HIT, MISS,"),
                            (["--reason", "why"], "reason: no such word"), (["--slower-than", "fast"], "slower-than: a duration")):
        done = outrigger.ctl("log", *arguments, check=False)
        assert done.returncode == 1 and text in done.stderr, done.stderr
    done = outrigger.ctl("stats", "--status", "404", check=False)
    assert done.returncode == 2 and "does not take these options" in done.stderr
