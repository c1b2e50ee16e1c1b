"""Processes: who there is, what happens when one of them dies or hangs at any moment, and how they all end."""
import os
import random
import signal
import threading
import time

import pytest

from harness.http import Connection
from harness.load import Load
from harness.outrigger import SLOW, descendants
from harness.poll import until

ROLES = {"proxy": 1, "disk": 2, "resolver": 1, "log": 1}
PASSED = {"Cache-Control": "no-store"}


@pytest.fixture
def site(make_outrigger, origin, tmp_path):
    """Three sites that between them need every helper: files, an origin known by name, and (for the log) both."""
    root = tmp_path / "www"
    root.mkdir()
    (root / "file").write_bytes(b"from the disk " * 5000)
    origin.on("/named", lambda request: request.answer(b"by name", fields=PASSED))
    origin.on("/stored", b"stored")

    def make(**config):
        sites = [
            {"hosts": ["files.test"], "origin": f"files:{root}", "files": {"max_age": "1h"}},
            {"hosts": ["*"], "origin": f"http://localhost:{origin.port}"},
        ]
        return make_outrigger(config={"helpers": {"disk": 2}, "resolver": {"ttl_min": 0, "ttl_max": "1s"}, "sites": sites, **config})

    return make


def mixed_load(outrigger, clients=4):
    return Load(outrigger, {"http://files.test/file?{}": b"from the disk " * 5000, "/named": b"by name", "/stored": b"stored"}, clients)


def alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


# ---- who there is ----


def test_each_role_is_a_process_whose_title_says_so(site):
    outrigger = site()
    for role, count in ROLES.items():
        until(lambda: len(outrigger.children(role)) == count, what=f"{count} processes titled {role}")  # ready says nothing of helpers' titles
        for pid in outrigger.children(role):
            until(lambda: open(f"/proc/{pid}/cmdline").read().rstrip("\0") == f"outrigger: {role}", what="the title, without the options")
            assert int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1]) == outrigger.process.pid, "the supervisor alone forks"
            assert "NoNewPrivs:\t1" in open(f"/proc/{pid}/status").read()
    assert len(descendants(outrigger.process.pid)) == sum(ROLES.values())


def test_workers_are_threads_of_the_proxy(site):
    outrigger = site(workers=3)
    (proxy,) = outrigger.children("proxy")
    names = [open(f"/proc/{proxy}/task/{task}/comm").read().strip() for task in os.listdir(f"/proc/{proxy}/task")]
    assert sum(name.startswith("loop-") for name in names) == 3
    assert outrigger.metric("outrigger_workers") == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change to another user")
def test_only_the_supervisor_stays_root(site):
    outrigger = site(user="nobody")
    assert outrigger.get("/named").body == b"by name"
    for role in ROLES:
        for pid in outrigger.children(role):
            status = open(f"/proc/{pid}/status").read()
            assert "Uid:\t65534\t65534\t65534\t65534" in status and "Groups:\t65534" in status, role
            assert "CapEff:\t0000000000000000" in status
    outrigger.await_access_lines(1)


def test_ready_is_told_when_requests_are_served(site):
    """The harness waits for READY=1; the very next request must be answered."""
    outrigger = site()
    assert outrigger.get("/stored").status == 200


# ---- a helper dies ----


@pytest.mark.parametrize("role", ["disk", "resolver", "log"])
def test_a_helper_that_is_killed_is_replaced_at_once(site, role):
    outrigger = site()
    victim = outrigger.await_children(role, ROLES[role])[0]
    os.kill(victim, signal.SIGKILL)
    outrigger.await_children(role, ROLES[role], without=victim)
    outrigger.await_metric(1, "outrigger_helper_restarts_total", role=role)
    assert outrigger.get("http://files.test/file").body == b"from the disk " * 5000
    assert outrigger.get("/named").body == b"by name"
    until(lambda: f"{role} helper 0 ({victim}) was killed by signal 9 (Killed); starting another in 0 ms" in outrigger.errors(), what="the error log to tell")
    until(lambda: len(outrigger.access_lines()) == 2, what="the access log")


@pytest.mark.threads
def test_helpers_killed_at_any_moment_under_load_fail_no_request(site):
    outrigger = site(helpers={"disk": 4})
    dice = random.Random(1)
    kills, killed = {"disk": 25, "resolver": 7, "log": 7}, set()
    with mixed_load(outrigger) as load:
        while any(kills.values()):
            until(lambda goal=load.count + dice.randrange(1, 40): load.count >= goal or load.failures, timeout=60, what="requests between two kills")
            for role in [r for r, left in kills.items() if left]:
                if pids := set(outrigger.children(role)) - killed:
                    kills[role] -= 1
                    killed.add(victim := dice.choice(sorted(pids)))
                    os.kill(victim, signal.SIGKILL)
        goal = load.count + 200
        until(lambda: load.count >= goal or load.failures, timeout=60, what="requests after the last kill")
        load.end()
        assert not load.failures
    for role, count in {**ROLES, "disk": 4}.items():
        outrigger.await_children(role, count)
    outrigger.await_metric(25, "outrigger_helper_restarts_total", role="disk")


@pytest.mark.parametrize("role, target", [("disk", "http://files.test/file?cold"), ("resolver", "/named")])
def test_a_helper_that_hangs_is_killed_and_its_requests_are_answered_by_the_next(site, role, target):
    outrigger = site(helpers={"disk": 1, "resolver": 1, "deadline": f"{300 * SLOW}ms"})
    assert outrigger.get("/stored").status == 200
    (victim,) = outrigger.children(role)
    os.kill(victim, signal.SIGSTOP)
    assert outrigger.get(target).status == 200
    outrigger.await_children(role, 1, without=victim)
    assert outrigger.get("http://files.test/file?colder").status == 200
    until(lambda: f"{role} helper 0 ({victim}) does not answer: killing it" in outrigger.errors(), what="the error log to tell")


@pytest.mark.threads
def test_hits_flow_while_a_disk_helper_is_stopped(site):
    outrigger = site(helpers={"disk": 1, "deadline": "2s" if SLOW == 1 else "6s"})
    assert outrigger.get("/stored").body == b"stored"
    (victim,) = outrigger.children("disk")
    os.kill(victim, signal.SIGSTOP)
    with outrigger.connect(timeout=60 * SLOW) as cold, Load(outrigger, {"/stored": b"stored"}) as load:
        cold.send("GET /file?cold HTTP/1.1\r\nHost: files.test\r\n\r\n")
        goal = load.count + 500
        until(lambda: load.count >= goal or load.failures, timeout=30 * SLOW, what="hits")
        assert alive(victim), "the hits came while it was stopped"
        assert cold.response().body == b"from the disk " * 5000, "it was killed, and another one asked"
        load.end()
        assert not load.failures
    assert not alive(victim)


def test_a_stopped_log_helper_slows_nobody(site):
    outrigger = site()
    outrigger.get("/stored")
    (victim,) = outrigger.children("log")
    os.kill(victim, signal.SIGSTOP)
    with Load(outrigger, {"/stored": b"stored"}) as load:
        goal = load.count + 1000
        until(lambda: load.count >= goal or load.failures, timeout=60 * SLOW, what="hits")
        load.end()
        assert not load.failures
    count = load.count + 1
    os.kill(victim, signal.SIGCONT)
    until(lambda: len(outrigger.access_lines()) + outrigger.metric("outrigger_log_lines_dropped_total") >= count, what="every line to be written or counted as dropped")


def test_a_helper_that_crashes_at_each_start_is_started_ever_more_slowly(site):
    """HARDENING: at most one restart a second in the end, and traffic is served."""
    outrigger = site()
    assert outrigger.get("/named").status == 200
    starts, seen, pauses = [], set(), [0]
    while max(pauses) < 0.9:
        for pid in outrigger.children("resolver"):
            if pid not in seen:
                seen.add(pid)
                starts.append(time.monotonic())
                os.kill(pid, signal.SIGKILL)
        assert outrigger.get("/named").body == b"by name"
        pauses = [0] + [round(b - a, 2) for a, b in zip(starts, starts[1:])]
        assert len(starts) < 30, pauses


# ---- the proxy dies ----


def test_the_proxy_is_started_again_with_the_same_sockets_and_clients_wait(site):
    outrigger = site()
    for _ in range(3):
        assert outrigger.get("/stored").body == b"stored"
        (victim,) = outrigger.children("proxy")
        helpers = [pid for role in ("disk", "resolver", "log") for pid in outrigger.children(role)]
        os.kill(victim, signal.SIGKILL)
        while victim in outrigger.children("proxy"):
            outrigger.connect().close()  # never refused
        for _ in range(5):
            assert outrigger.get("/stored").body == b"stored"
        outrigger.await_children("proxy", 1, without=victim)
        until(lambda: not any(alive(pid) for pid in helpers), what="the old helpers to be gone")
        for role, count in ROLES.items():
            outrigger.await_children(role, count)
        assert outrigger.get("http://files.test/file").status == 200
    until(lambda: "the proxy was killed by signal 9" in outrigger.errors(), what="the error log to tell")


def test_connections_that_come_while_the_proxy_is_away_are_served_by_the_next(site):
    outrigger = site()
    (victim,) = outrigger.children("proxy")
    os.kill(victim, signal.SIGSTOP)
    until(lambda: all("State:\tT" in open(f"/proc/{victim}/task/{task}/status").read() for task in os.listdir(f"/proc/{victim}/task")), what="it to stand still")
    clients = [outrigger.connect(timeout=30 * SLOW).send("GET /stored HTTP/1.1\r\nHost: site.test\r\n\r\n") for _ in range(20)]
    os.kill(victim, signal.SIGKILL)
    for client in clients:
        with client:
            assert client.response().body == b"stored"


# ---- the end ----


def test_the_supervisors_death_is_everybodys(site):
    outrigger = site()
    family = descendants(outrigger.process.pid)
    assert len(family) == sum(ROLES.values())
    with mixed_load(outrigger, clients=2) as load:
        until(lambda: load.count >= 20, what="some load")
        os.kill(outrigger.process.pid, signal.SIGKILL)
        until(lambda: not any(alive(pid) for pid in family), timeout=5 * SLOW, what="all children to exit")
        load.end()
    outrigger.process.wait()
    with pytest.raises(ConnectionRefusedError):
        outrigger.connect()


def hold(outrigger, origin):
    """A request under way whose answer has begun; returns its client and what lets it go on."""
    go_on = threading.Event()

    def slow(request):
        request.send("HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 9\r\n\r\nhalf")
        go_on.wait(60 * SLOW)
        request.send(" time")

    origin.on("/slow", slow)
    client = outrigger.connect(timeout=30 * SLOW).send("GET /slow HTTP/1.1\r\nHost: site.test\r\n\r\n")
    assert client.read_until(b"half").startswith(b"HTTP/1.1 200 ")
    return client, go_on


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_term_and_int_stop_at_once(site, origin, number):
    outrigger = site()
    client, go_on = hold(outrigger, origin)
    family = descendants(outrigger.process.pid)
    outrigger.send_signal(number)
    assert outrigger.process.wait(10 * SLOW) == 0
    go_on.set()
    assert not any(alive(pid) for pid in family)
    client.read_to_end()
    assert b"time" not in client.buffer
    with pytest.raises(ConnectionRefusedError):
        outrigger.connect()
    outrigger.await_notification("STOPPING=1")
    assert not os.path.exists(outrigger.socket) and not (outrigger.directory / "pid").exists()


def test_a_stop_loses_no_log_line(site):
    outrigger = site()
    for n in range(50):
        assert outrigger.get(f"http://files.test/file?{n}").status == 200
    until(lambda: outrigger.metric("outrigger_requests_total") == 50, what="all requests to have ended")
    outrigger.stop()
    assert len(outrigger.access_lines()) == 50


def test_quit_finishes_what_is_under_way(site, origin):
    outrigger = site()
    idle = outrigger.connect()
    assert idle.request("/stored").body == b"stored"
    client, go_on = hold(outrigger, origin)
    outrigger.send_signal(signal.SIGQUIT)
    assert idle.closed_by_peer(), "a kept connection without a request"
    with pytest.raises(ConnectionRefusedError):
        until(lambda: outrigger.connect().close(), what="new connections to be refused")
    assert outrigger.process.poll() is None
    go_on.set()
    assert client.read_until(b" time") == b""
    assert client.closed_by_peer(), "its connection is not kept"
    assert "timeouts.drain has passed" not in outrigger.errors()
    assert outrigger.process.wait(10 * SLOW) == 0
    lines = outrigger.access_lines()
    assert any('"GET /slow HTTP/1.1" 200 9 ' in line for line in lines), lines


def test_a_request_that_comes_on_a_kept_connection_during_the_drain_is_answered_or_closed_cleanly(site, origin):
    outrigger = site()
    client, go_on = hold(outrigger, origin)
    client.send("GET /stored HTTP/1.1\r\nHost: site.test\r\n\r\n")  # pipelined behind the slow one
    outrigger.send_signal(signal.SIGQUIT)
    go_on.set()
    rest = client.read_to_end()
    assert rest.startswith(b" time")
    assert rest == b" time" or b"HTTP/1.1 200 OK" in rest and rest.endswith(b"stored")
    assert outrigger.process.wait(10 * SLOW) == 0


def test_healthz_says_that_it_drains(site, origin):
    outrigger = site()
    client, go_on = hold(outrigger, origin)
    with Connection(outrigger.admin_port) as admin:
        assert admin.request("/healthz", host="localhost").status == 200
        outrigger.send_signal(signal.SIGQUIT)
        until(lambda: admin.request("/healthz", host="localhost").status == 503, what="503 while draining")
    go_on.set()
    client.read_to_end()
    assert outrigger.process.wait(10 * SLOW) == 0


def test_the_drain_ends_when_its_time_is_over(site, origin):
    outrigger = site(timeouts={"drain": "300ms"})
    client, go_on = hold(outrigger, origin)
    outrigger.send_signal(signal.SIGQUIT)
    assert client.read_to_end() == b"" and not go_on.is_set()
    assert outrigger.process.wait(10 * SLOW) == 0
    assert "timeouts.drain has passed" in outrigger.errors()
    go_on.set()


def test_term_ends_a_drain(site, origin):
    outrigger = site(timeouts={"drain": "1h"})
    client, go_on = hold(outrigger, origin)
    outrigger.send_signal(signal.SIGQUIT)
    outrigger.await_notification("STOPPING=1")
    outrigger.send_signal(signal.SIGTERM)
    assert outrigger.process.wait(10 * SLOW) == 0
    go_on.set()


def test_a_tunnel_does_not_outlive_the_drain(site, origin):
    outrigger = site(timeouts={"drain": "300ms"})

    def tunnel(request):
        request.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        request.connection.read_to_end()

    origin.on("/tunnel", tunnel)
    with outrigger.connect(timeout=30 * SLOW) as client:
        client.send("GET /tunnel HTTP/1.1\r\nHost: site.test\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        assert client.head().status == 101
        outrigger.send_signal(signal.SIGQUIT)
        assert client.read_to_end() == b""
    assert outrigger.process.wait(10 * SLOW) == 0
