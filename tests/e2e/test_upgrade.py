"""Another binary takes over: no request fails, the disk tier goes with it, and a binary that does not start leaves the old one serving."""
import os
import shutil
import signal
import socket
import subprocess
import threading

import pytest

from harness.http import Connection, get
from harness.outrigger import BINARY, SLOW, Outrigger, descendants, title
from harness.poll import until
from harness.ports import free_port

UPGRADES = int(os.environ.get("UPGRADES", "3"))
STORED = {"Cache-Control": "max-age=600"}


class Replaceable(Outrigger):
    """Runs a copy of the binary, which can be replaced; follows the supervisor that holds the pid file."""

    def command(self):
        self.binary = self.directory / "outrigger"
        if not self.binary.exists():
            shutil.copy(BINARY, self.binary)
        return [str(self.binary), *super().command()[1:]]

    def pid(self):
        try:
            return int((self.directory / "pid").read_text())
        except (OSError, ValueError):
            return 0

    def upgrade(self):
        before, word = self.pid(), "this binary has taken over"
        count = self.errors().count(word)
        os.kill(before, signal.SIGUSR2)
        until(lambda: self.errors().count(word) > count and self.pid() not in (0, before), 60 * SLOW, "the new binary to take over")
        return self.pid()

    def send_signal(self, number):
        os.kill(self.pid(), number)

    def stop(self, number=signal.SIGTERM, timeout=15):
        last = self.pid()
        if last:
            try:
                os.kill(last, number)
            except ProcessLookupError:
                pass
            until(lambda: not is_running(last), 30 * SLOW, "the last supervisor to end")
        self.process.wait(30 * SLOW)
        self.notify.close()
        self.output.close()
        text = self.output_text() + self.errors()
        assert "Sanitizer" not in text and "runtime error:" not in text and "Assertion" not in text, text


def is_running(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def make(tmp_path, origin):
    made = []
    origin.on("*", lambda request: request.answer(request.target * 100, fields=STORED))

    def make(**config):
        made.append(Replaceable(tmp_path, origin=origin.url, config=config))
        return made[-1]

    yield make
    for each in made:
        each.stop()


class Clients:
    """Half of them keep their connection, half connect for each request. An answer that is not whole and right is a failure; so is a refused connection."""

    def __init__(self, port, count=4, urls=50):
        self.port, self.urls, self.done, self.hits, self.failures, self.ending = port, urls, 0, 0, [], threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self, number):
        keeps, connection, turn = number % 2 == 0, None, number
        while not self.ending.is_set():
            turn += 1
            target = f"/{turn % self.urls}"
            try:
                connection = connection or Connection(self.port)
                answer = connection.request(target)
                assert answer.status == 200 and answer.body == (target * 100).encode(), f"{target}: {answer.status}"
                self.done += 1
                self.hits += "; hit" in answer.get("Cache-Status")
                if not keeps or answer.get("Connection") == "close":
                    connection.close()
                    connection = None
            except Exception as error:  # whatever it is, a client saw it
                self.failures.append(f"{target}, request {turn}: {error!r}")
                connection = None
        if connection:
            connection.close()

    def stop(self):
        self.ending.set()
        for thread in self.threads:
            thread.join()


def test_no_request_fails_while_other_binaries_take_over(make):
    outrigger = make()
    clients = Clients(outrigger.port)
    pids = [outrigger.pid()]
    for _ in range(UPGRADES):
        before = clients.done
        until(lambda: clients.done > before + 50, 30 * SLOW, "some load")
        pids.append(outrigger.upgrade())
    before = clients.done
    until(lambda: clients.done > before + 50, 30 * SLOW, "some load")
    until(lambda: not any(is_running(pid) for pid in pids[:-1]), 30 * SLOW, "the old ones to end")
    clients.stop()
    assert clients.failures == [] and clients.done > 100
    assert len(set(pids)) == UPGRADES + 1
    assert outrigger.get("/1").status == 200
    assert outrigger.ctl("stats").returncode == 0, "the admin socket goes with it"


def on_disk(tmp_path, **more):
    """Settings of a disk tier that takes everything."""
    return {"cache": {"memory": "32MiB", "disk": [{"path": str(tmp_path / "store"), "size": "64MiB"}]}, "disk": {"admit": "always"}, **more}


def hit_ratio_over_upgrades(outrigger, origin):
    """Of what clients ask for while one binary after the other takes over; it is stored before."""
    for i in range(50):
        outrigger.get(f"/{i}")
    clients = Clients(outrigger.port)
    for _ in range(UPGRADES):
        before = clients.done
        until(lambda: clients.done > before + 200, 30 * SLOW, "some load")
        outrigger.upgrade()
    before = clients.done
    until(lambda: clients.done > before + 200, 30 * SLOW, "some load")
    clients.stop()
    assert clients.failures == []
    print(f"{UPGRADES} upgrades, {clients.done} requests, {100 * clients.hits / clients.done:.2f} % hits, {len(origin.requests)} at the origin")
    return clients.hits / clients.done


def test_the_hit_ratio_is_kept_over_upgrades_under_load(make, tmp_path, origin):
    """Memory goes along, and what is not there comes from disk: what misses is what is asked for meanwhile."""
    outrigger = make(**on_disk(tmp_path))
    assert hit_ratio_over_upgrades(outrigger, origin) > 0.95
    until(lambda: outrigger.metric("outrigger_store_recovering") == 0, 30 * SLOW, "the disk tier to be found")
    fetched = len(origin.requests)
    for i in range(50):
        outrigger.get(f"/{i}")
    assert len(origin.requests) == fetched, "everything is there in the end"


def replace(outrigger, script):
    """The next one that is started is that script."""
    outrigger.binary.unlink()
    outrigger.binary.write_text(f"#!/bin/sh\n{script}\n")
    outrigger.binary.chmod(0o755)


def put_back(outrigger):
    outrigger.binary.unlink()
    shutil.copy(BINARY, outrigger.binary)


def say(byte):
    return f"printf {byte} >&$OUTRIGGER_UPGRADE"


class Halted:
    """The proxy does nothing meanwhile: its supervisor goes on."""

    def __init__(self, outrigger):
        (self.pid,) = [child for child in descendants(outrigger.pid()) if title(child) == "outrigger: proxy"]

    def __enter__(self):
        os.kill(self.pid, signal.SIGSTOP)

    def __exit__(self, *_):
        os.kill(self.pid, signal.SIGCONT)


@pytest.mark.parametrize("stage", ["before", "when", "after"])
def test_one_that_dies_as_it_is_handed_the_disk_tier_leaves_it_to_the_old_one(make, tmp_path, stage):
    outrigger = make(**on_disk(tmp_path))
    before = outrigger.pid()
    outrigger.get("/early"), outrigger.get("/gone")
    replace(outrigger, f"sleep 0.1\n{say('R')}\n{'' if stage == 'when' else 'sleep 0.2'}")
    if stage == "before":
        with Halted(outrigger):
            os.kill(before, signal.SIGUSR2)
            until(lambda: "the old one keeps serving" in outrigger.errors(), 20 * SLOW, "the failure to be told")
    else:
        os.kill(before, signal.SIGUSR2)
        until(lambda: "the old one keeps serving" in outrigger.errors(), 20 * SLOW, "the failure to be told")
    assert "the new binary is ready" in outrigger.errors() and outrigger.pid() == before
    until(lambda: outrigger.metric("outrigger_store_bypassed") == 0, 20 * SLOW, "the disk tier to be in use")
    outrigger.get("/late")
    until(lambda: outrigger.ctl("purge", "http://site.test/gone").stdout == "purged\n", 20 * SLOW, "purges to be taken again")
    put_back(outrigger)
    outrigger.upgrade()
    until(lambda: not is_running(before), 30 * SLOW, "the old one to end")
    until(lambda: outrigger.metric("outrigger_store_recovering") == 0, 30 * SLOW, "the disk tier to be found")
    assert "; hit" in outrigger.get("/early").get("Cache-Status") and "; hit" in outrigger.get("/late").get("Cache-Status")
    assert "; hit" not in outrigger.get("/gone").get("Cache-Status")


def test_a_reload_before_the_new_one_takes_over_is_its_business_too(make, tmp_path):
    outrigger = make(**on_disk(tmp_path))
    before = outrigger.pid()
    with Halted(outrigger):
        os.kill(before, signal.SIGUSR2)
        until(lambda: "the new binary is ready" in outrigger.errors(), 60 * SLOW, "the new binary")
        outrigger.config["limits"] = {"url_bytes": "100B"}
        outrigger.write_config()
        os.kill(before, signal.SIGHUP)
        until(lambda: "SIGHUP" in outrigger.errors(), 20 * SLOW, "the old one to be told")
    until(lambda: not is_running(before), 30 * SLOW, "the old one to end")
    until(lambda: outrigger.get("/" + "x" * 200).status == 414, 20 * SLOW, "the configuration to be read again")


def listening_inode(port):
    """Of the one socket that listens there."""
    rows = [line.split() for line in open("/proc/net/tcp").read().splitlines()[1:]]
    (inode,) = [row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"]
    return inode


def test_listeners_that_a_reload_adds_meanwhile_go_with_it(make, tmp_path):
    outrigger = make()
    before, kept, added, admin = outrigger.pid(), outrigger.port, free_port(), tmp_path / "other.sock"
    with Halted(outrigger):
        os.kill(before, signal.SIGUSR2)
        until(lambda: "the new binary is ready" in outrigger.errors(), 60 * SLOW, "the new binary")
        outrigger.config["listen"].append({"address": f"127.0.0.1:{added}"})
        outrigger.config["admin"]["socket"] = str(admin)
        outrigger.write_config()
        os.kill(before, signal.SIGHUP)
        until(admin.exists, 20 * SLOW, "the old one to bind")
        sockets = listening_inode(kept), listening_inode(added), admin.stat().st_ino
    until(lambda: not is_running(before), 30 * SLOW, "the old one to end")
    outrigger.socket = str(admin)
    until(lambda: outrigger.ctl("stats").returncode == 0, 20 * SLOW, "the new one to serve there")
    assert get(added, "/1").status == 200 and outrigger.get("/1").status == 200
    assert (listening_inode(kept), listening_inode(added), admin.stat().st_ino) == sockets, "who waits there waits on"
    assert "refused" not in outrigger.errors()
    outrigger.stop()
    assert not admin.exists(), "the last one removes it"


@pytest.mark.parametrize("has_disk", [False, True], ids=["memory", "disk"])
def test_the_old_one_refuses_a_purge_when_it_has_handed_over(make, tmp_path, has_disk):
    outrigger = make(**on_disk(tmp_path) if has_disk else {})
    before = outrigger.pid()
    assert outrigger.get("/kept").status == 200
    with outrigger.connect(timeout=30 * SLOW) as late:
        late.send("PURGE /kept HTTP/1.1\r\nHost: site.test\r\n")
        outrigger.upgrade()
        late.send("\r\n")
        answer = late.response()
    assert answer.status == 503 and answer.get("Retry-After") == "1"
    until(lambda: not is_running(before), 30 * SLOW, "the old one to end")
    assert outrigger.get("/kept", method="PURGE").status == 200


@pytest.mark.parametrize("has_disk", [False, True], ids=["memory", "disk"])
def test_what_the_origin_has_done_is_never_an_error(make, tmp_path, origin, has_disk):
    """The old one stored what the POST makes invalid, and has handed over when the origin answers."""
    asked, go = threading.Event(), threading.Event()

    def answer(request):
        if request.method == "POST":
            asked.set()
            assert go.wait(60 * SLOW)
        return request.answer(request.method, fields=STORED if request.method == "GET" else {})

    outrigger = make(**on_disk(tmp_path) if has_disk else {})
    origin.on("/kept", answer)
    before = outrigger.pid()
    assert outrigger.get("/kept").body == b"GET"
    with outrigger.connect(timeout=60 * SLOW) as late:
        late.send("POST /kept HTTP/1.1\r\nHost: site.test\r\nContent-Length: 1\r\n\r\nx")
        assert asked.wait(30 * SLOW)
        outrigger.upgrade()
        go.set()
        response = late.response("POST")
    assert (response.status, response.body) == (200, b"POST")
    until(lambda: not is_running(before), 30 * SLOW, "the old one to end")


@pytest.mark.parametrize("has_disk", [False, True], ids=["memory", "disk"])
def test_the_new_one_forgets_what_requests_at_the_old_one_make_invalid(make, tmp_path, origin, has_disk):
    """By URL, by Location, and by group; over connections that were open before."""
    written = []

    def answer(request):
        if request.method == "GET":
            return request.answer(f"{request.target} after {len(written)}", fields={**STORED, **({"Cache-Groups": '"news"'} if request.target == "/grouped" else {})})
        written.append(request.target)
        return request.answer(b"", status="201 Created", fields={"Location": "/created", "Cache-Group-Invalidation": '"news"'})

    origin.on("*", answer)
    outrigger = make(**on_disk(tmp_path) if has_disk else {})
    targets = ("/written", "/created", "/grouped", "/kept")
    with outrigger.connect(timeout=60 * SLOW) as late:
        late.send("POST /written HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n")
        outrigger.upgrade()
        until(lambda: all("; hit" in outrigger.get(target).get("Cache-Status") for target in targets), 30 * SLOW, "the new one to have all of it")
        late.send("\r\n")
        assert late.response("POST").status == 201
    assert written == ["/written"]
    for target in targets[:3]:
        until(lambda: outrigger.get(target).body == f"{target} after 1".encode(), 30 * SLOW, f"{target} to be forgotten")
    assert outrigger.get("/kept").body == b"/kept after 0"


def test_what_is_on_disk_is_found_by_the_new_one(make, tmp_path, origin):
    outrigger = make(cache={"memory": "32MiB", "disk": [{"path": str(tmp_path / "store"), "size": "64MiB"}]}, disk={"admit": "always"})
    for i in range(50):
        outrigger.get(f"/{i}")
    for _ in range(2):
        before = outrigger.pid()
        outrigger.upgrade()
        until(lambda: not is_running(before), 30 * SLOW, "the old one to end")
        until(lambda: outrigger.metric("outrigger_store_recovering") == 0, 30 * SLOW, "the disk tier to be found")
        for i in range(50):
            answer = outrigger.get(f"/{i}")
            assert answer.get("Cache-Status").startswith("outrigger; hit") and answer.body == f"/{i}".encode() * 100
    assert len(origin.requests) == 50
    assert "in use by another instance" not in outrigger.errors()


def test_a_purge_holds_for_the_new_one(make, tmp_path, origin):
    outrigger = make(cache={"disk": [{"path": str(tmp_path / "store"), "size": "64MiB"}]}, disk={"admit": "always"})
    outrigger.get("/kept"), outrigger.get("/purged")
    assert outrigger.ctl("purge", "http://site.test/purged").stdout == "purged\n"
    before = outrigger.pid()
    outrigger.upgrade()
    until(lambda: not is_running(before), 30 * SLOW, "the old one to end")
    until(lambda: outrigger.metric("outrigger_store_recovering") == 0, 30 * SLOW, "the disk tier to be found")
    assert "hit" in outrigger.get("/kept").get("Cache-Status") and "hit" not in outrigger.get("/purged").get("Cache-Status")


def test_a_binary_that_cannot_be_executed_leaves_the_old_one_serving(make):
    outrigger = make()
    before = outrigger.pid()
    outrigger.binary.unlink()
    outrigger.binary.write_text("no binary")
    os.kill(before, signal.SIGUSR2)
    until(lambda: "the old one keeps serving" in outrigger.errors(), 20 * SLOW, "the failure to be told")
    assert outrigger.pid() == before and outrigger.get("/1").status == 200


def test_a_configuration_with_a_mistake_leaves_the_old_one_serving(make):
    outrigger = make()
    before = outrigger.pid()
    outrigger.write_config("sites: 5\n")
    os.kill(before, signal.SIGUSR2)
    until(lambda: "the old one keeps serving" in outrigger.errors(), 20 * SLOW, "the failure to be told")
    assert outrigger.pid() == before and outrigger.get("/1").status == 200 and is_running(before)
    outrigger.write_config()
    assert outrigger.upgrade() != before, "and it can be tried again"
    assert outrigger.get("/1").status == 200


def test_the_option_asks_for_it_and_a_reload_follows(make):
    outrigger = make()
    before = outrigger.pid()
    subprocess.run([BINARY, "-s", "upgrade", "--pid-file", str(outrigger.directory / "pid")], check=True, timeout=30 * SLOW)
    until(lambda: outrigger.pid() not in (0, before) and "this binary has taken over" in outrigger.errors(), 60 * SLOW, "the new binary to take over")
    until(lambda: not is_running(before), 30 * SLOW, "the old one to end")
    assert outrigger.ctl("reload").stdout == "reloaded\n"
    assert outrigger.get("/1").status == 200


def fences(pid):
    status = dict(line.split(":\t", 1) for line in open(f"/proc/{pid}/status").read().splitlines() if ":\t" in line)
    return {name: status.get(name) for name in ("Seccomp", "Seccomp_filters", "NoNewPrivs", "CapEff", "CapBnd")}


def test_the_new_one_is_fenced_in_as_the_old_one_was(make):
    outrigger = make()
    before = fences(outrigger.pid())
    for _ in range(2):
        assert fences(outrigger.upgrade()) == before


def test_one_that_cannot_bind_leaves_the_old_ones_admin_socket_alone(make):
    outrigger = make()
    before = outrigger.pid()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        outrigger.config["listen"].append({"address": f"127.0.0.1:{taken.getsockname()[1]}"})
        outrigger.write_config()
        os.kill(before, signal.SIGUSR2)
        until(lambda: "the old one keeps serving" in outrigger.errors(), 20 * SLOW, "the failure to be told")
    assert outrigger.ctl("stats").returncode == 0 and outrigger.get("/1").status == 200
    assert outrigger.upgrade() != before
    outrigger.stop()
    assert not os.path.exists(outrigger.socket), "the last one removes it"
