"""Logs to syslog and to the journal: sockets of the tests' own in the place of the daemons."""
import os
import re
import signal
import socket
import subprocess

import pytest

from harness.load import Load
from harness.outrigger import BINARY, SLOW
from harness.poll import until

LOCAL = re.compile(rb"<(\d+)>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d (\S+): (.*)", re.S)
REMOTE = re.compile(rb"<(\d+)>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (\S+) (\S+) (\S+) - - (.*)", re.S)


class Daemon:
    def __init__(self, path=None):
        self.path = path and str(path)
        self.socket = socket.socket(socket.AF_UNIX if path else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(self.path or ("127.0.0.1", 0))
        self.socket.settimeout(20 * SLOW)
        self.got = []

    @property
    def server(self):
        return f"unix:{self.path}" if self.path else "127.0.0.1:{}".format(self.socket.getsockname()[1])

    def until(self, part):
        """The first datagram that has `part` in it."""
        while not any(part in datagram for datagram in self.got):
            self.got.append(self.socket.recv(65536))
        return next(datagram for datagram in self.got if part in datagram)

    def has(self, part):
        """Whether it came by now."""
        self.socket.setblocking(False)
        try:
            while True:
                self.got.append(self.socket.recv(65536))
        except BlockingIOError:
            self.socket.settimeout(20 * SLOW)
        return any(part in datagram for datagram in self.got)

    def close(self):
        self.socket.close()
        if self.path:
            os.unlink(self.path)


@pytest.fixture
def make_daemon(tmp_path):
    made = []

    def make(name="log"):
        made.append(Daemon(name and tmp_path / name))
        return made[-1]

    yield make
    for daemon in made:
        daemon.socket.close()


def fields(datagram):
    return dict(line.split("=", 1) for line in datagram.decode().splitlines())


def test_the_access_log_goes_to_a_local_syslog(make_outrigger, origin, make_daemon):
    daemon = make_daemon()
    origin.on("/page", b"twelve bytes")
    outrigger = make_outrigger(origin=origin.url, config={"access_log": f"syslog:server={daemon.server},facility=local7,severity=notice,tag=edge"})
    for _ in range(2):
        outrigger.get("/page")
    priority, tag, text = LOCAL.fullmatch(daemon.until(b" HIT ")).groups()
    assert (int(priority), tag) == (23 * 8 + 5, b"edge")
    assert re.fullmatch(rb'127\.0\.0\.1 - - \[.*\] "GET /page HTTP/1\.1" 200 12 "-" "-" HIT - [\d.]+ site\.test', text), text
    assert b" MISS " in daemon.until(b" MISS ") and len(daemon.got) == 2


def test_the_access_log_goes_to_a_remote_syslog(make_outrigger, origin, make_daemon):
    daemon = make_daemon(None)
    origin.on("/page", b"twelve bytes")
    outrigger = make_outrigger(origin=origin.url, config={"access_log": {"path": f"syslog:server={daemon.server}", "format": "json"}})
    outrigger.get("/page")
    priority, _, host, tag, pid, text = REMOTE.fullmatch(daemon.until(b"/page")).groups()
    assert (int(priority), host, tag, pid) == (3 * 8 + 6, socket.gethostname().encode(), b"outrigger", b"-") and text.startswith(b'{"time":')


def test_both_logs_go_to_the_journal_with_fields(make_outrigger, make_daemon):
    daemon = make_daemon()
    outrigger = make_outrigger(origin="http://127.0.0.1:1", config={"access_log": f"journald:server={daemon.server}", "error_log": {"path": f"journald:server={daemon.server},tag=edge"}})
    outrigger.get("/page", host="shop.test")
    access, error = fields(daemon.until(b"OUTRIGGER_STATUS=502")), fields(daemon.until(b"MESSAGE=request: "))
    assert access["MESSAGE"].startswith("127.0.0.1 - - [") and access["OUTRIGGER_REQUEST"] == "GET /page HTTP/1.1" and access["OUTRIGGER_HOST"] == "shop.test"
    assert (access["PRIORITY"], access["SYSLOG_IDENTIFIER"], access["OUTRIGGER_LOG"], access["OUTRIGGER_REASON"]) == ("6", "outrigger", "access", "origin-refused")
    (proxy,) = outrigger.children("proxy")
    assert (error["PRIORITY"], error["SYSLOG_IDENTIFIER"], error["OUTRIGGER_ROLE"], error["OUTRIGGER_AREA"], error["SYSLOG_PID"]) == ("4", "edge", "proxy", "request", str(proxy))
    listening = fields(daemon.until(b"listening on"))
    assert (listening["OUTRIGGER_ROLE"], listening["SYSLOG_PID"]) == ("supervisor", str(outrigger.process.pid))


def test_json_lines_have_the_same_fields_in_the_journal(make_outrigger, make_daemon):
    daemon = make_daemon()
    outrigger = make_outrigger(origin="http://127.0.0.1:1", config={"access_log": {"path": f"journald:server={daemon.server}", "format": "json"}})
    outrigger.get('/a"b', host="shop.test", fields=[("User-Agent", "Name\\1")])
    access = fields(daemon.until(b"OUTRIGGER_STATUS=502"))
    assert access["MESSAGE"].startswith('{"time":') and "OUTRIGGER_TIME" not in access and access["OUTRIGGER_LOG"] == "access"
    assert (access["OUTRIGGER_TARGET"], access["OUTRIGGER_USER_AGENT"], access["OUTRIGGER_HOST"]) == ('/a"b', "Name\\1", "shop.test")
    assert (access["OUTRIGGER_RESULT"], access["OUTRIGGER_REASON"], access["OUTRIGGER_METHOD"]) == ("MISS", "origin-refused", "GET")


def test_what_helpers_have_to_say_goes_where_the_error_log_goes(make_outrigger, origin, make_daemon):
    daemon = make_daemon()
    origin.on("/page", b"x")
    outrigger = make_outrigger(origin=origin.url, config={"access_log": "/dev/full", "error_log": f"journald:server={daemon.server}"})
    outrigger.get("/page")
    full = fields(daemon.until(b"access log /dev/full: No space left on device"))
    (log,) = outrigger.children("log")
    assert (full["PRIORITY"], full["OUTRIGGER_ROLE"], full["OUTRIGGER_AREA"], full["SYSLOG_PID"]) == ("3", "log", "log", str(log))
    assert "No space left" not in outrigger.output_text()


def test_a_full_error_log_is_told_of_on_standard_error(make_outrigger):
    outrigger = make_outrigger(origin="http://127.0.0.1:1", config={"error_log": "/dev/full"})
    assert outrigger.get("/page").status == 502
    until(lambda: "error log /dev/full: No space left on device" in outrigger.output_text(), what="the report")


def test_a_daemon_that_is_started_anew_gets_what_came_meanwhile(make_outrigger, origin, make_daemon):
    daemon = make_daemon()
    origin.on("*", b"x")
    outrigger = make_outrigger(origin=origin.url, config={"access_log": f"syslog:server={daemon.server}"})
    outrigger.get("/before")
    daemon.until(b"/before")
    daemon.close()
    outrigger.get("/meanwhile")
    daemon = make_daemon()
    daemon.until(b"/meanwhile")
    outrigger.get("/after")
    daemon.until(b"/after")
    assert outrigger.metric("outrigger_log_lines_dropped_total") == 0


@pytest.mark.threads
def test_a_daemon_that_does_not_read_slows_no_request_and_what_is_dropped_is_counted(make_outrigger, origin, make_daemon):
    daemon = make_daemon()
    origin.on("/stored", b"stored")
    outrigger = make_outrigger(origin=origin.url, config={"access_log": f"syslog:server={daemon.server}"})
    with Load(outrigger, {f"/stored?{n}{'w' * 3000}": b"stored" for n in range(4)}) as load:
        until(lambda: outrigger.metric("outrigger_log_lines_dropped_total") > 100 or load.failures, timeout=60 * SLOW, what="lines to be dropped")
        # not that the helper had no time, which is counted as well
        until(lambda: "its reader is too slow" in outrigger.errors() + outrigger.output_text() or load.failures, timeout=60 * SLOW, what="the report")
        goal = load.count + 300
        until(lambda: load.count >= goal or load.failures, timeout=60 * SLOW, what="requests after that")
        load.end()
        assert not load.failures
    until(lambda: outrigger.get("/last") and daemon.until(b'"GET /stored'), what="lines after that")


def test_no_daemon_is_no_reason_not_to_serve(make_outrigger, origin, tmp_path):
    origin.on("/page", b"x")
    outrigger = make_outrigger(origin=origin.url, config={"access_log": f"journald:server=unix:{tmp_path}/nobody", "error_log": f"syslog:server=unix:{tmp_path}/nobody"})
    assert outrigger.get("/page").status == 200
    until(lambda: f"access log journald:server=unix:{tmp_path}/nobody: No such file or directory" in outrigger.output_text(), what="the report")
    assert "listening on" in outrigger.output_text(), "the supervisor's lines go to standard error instead"


def test_a_reload_and_usr1_open_other_sockets(make_outrigger, origin, make_daemon):
    first, second = make_daemon("first"), make_daemon("second")
    origin.on("*", b"x")
    outrigger = make_outrigger(origin=origin.url, config={"access_log": f"syslog:server={first.server}"})
    outrigger.get("/one")
    first.until(b"/one")
    outrigger.config["access_log"] = f"syslog:server={second.server},tag=new"
    outrigger.write_config()
    outrigger.ctl("reload")
    until(lambda: outrigger.get("/two") and second.has(b"/two"), what="a line for the other daemon")
    assert b" new: " in second.until(b"/two")
    first.close()
    outrigger.send_signal(signal.SIGUSR1)
    outrigger.get("/three")
    second.until(b"/three")


def test_what_t_says_of_it(tmp_path):
    config = tmp_path / "t.yaml"
    for text, status, part in (("syslog:server=nowhere", 1, "error: access_log.path: server= takes an address"), ("syslog:server=unix:/nowhere/log", 0, "warning: access_log.path: nobody listens"),
                               ("syslog:server=192.0.2.1", 0, "")):
        config.write_text(f"access_log: {text}\nsites: [{{hosts: a, origin: http://b}}]\n")
        done = subprocess.run([BINARY, "-t", "-c", config], capture_output=True, text=True, timeout=30 * SLOW)
        assert done.returncode == status and part in done.stderr + done.stdout, done.stderr
