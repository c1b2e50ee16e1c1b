"""`concurrency`: the architectures that this one is compared with serve and store the same."""
import os
import signal
import socket
import subprocess
import time

import pytest
from harness.http import Connection
from harness.load import Load
from harness.outrigger import BINARY, SLOW
from harness.poll import until
from harness.status import status_of
from harness.store import await_written, restart, with_store
from test_store import body_of, numbered


WORKERS = {"sped": 2, "mt": 8, "mp": 2}


@pytest.fixture
def store(make_outrigger, origin, tmp_path):
    def make(concurrency, memory="32MiB", size="64MiB", **config):
        config = {"concurrency": concurrency, "workers": WORKERS[concurrency], **config}
        return with_store(make_outrigger, origin, tmp_path / "store", size, cache={"memory": memory}, config=config)

    return make


@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGKILL], ids=["drained", "killed"])
@pytest.mark.parametrize("concurrency", ["sped", "mt"])
def test_it_serves_stores_and_survives_a_restart(store, origin, concurrency, how):
    origin.on("*", numbered)
    outrigger = store(concurrency, size="512MiB")
    targets = {f"/{n}/{size}": body_of(n, size) for n, size in enumerate([0, 100, 16000, 17000, 66000, 200000, 1500000])}
    for target, body in targets.items():
        assert outrigger.get(target).body == body
    await_written(outrigger, len(targets))
    assert outrigger.children("store") == []
    asked = origin.count()
    restart(outrigger, how)
    for target, body in targets.items():
        response = outrigger.get(target)
        assert (response.status, response.body) == (200, body)
        assert status_of(response)["hit"]
    assert origin.count() == asked
    assert outrigger.metric("outrigger_store_hits_total") == len(targets)


@pytest.mark.parametrize("concurrency", ["sped", "mt"])
def test_load_on_more_than_memory_holds(store, origin, concurrency):
    origin.on("*", numbered)
    outrigger = store(concurrency, memory="2MiB")
    targets = {f"/{n}/{size}": body_of(n, size) for n in range(150) for size in (3000, 20000)}
    for target in targets:
        outrigger.get(target)
    with Load(outrigger, targets, clients=6) as load:
        until(lambda: load.count >= 1000 or load.failures, timeout=60 * SLOW, what="answers")
        load.end()
        assert not load.failures
    assert outrigger.metric("outrigger_store_hits_total") > 0


def test_a_thread_serves_one_connection_until_that_closes(make_outrigger, origin):
    origin.on("*", b"hello")
    outrigger = make_outrigger(origin=origin.url, config={"concurrency": "mt", "workers": 2})
    first, second = Connection(outrigger.port), Connection(outrigger.port)
    assert first.request("/").body == second.request("/").body == b"hello"
    with socket.create_connection(("127.0.0.1", outrigger.port), 5) as third:
        third.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert first.request("/").body == second.request("/").body == b"hello"
        third.settimeout(0.2)
        with pytest.raises(socket.timeout):
            third.recv(1)
        third.settimeout(20 * SLOW)
        second.close()
        assert third.recv(100).startswith(b"HTTP/1.1 200")
    first.close()


def check_store(directory):
    return subprocess.run([BINARY, "--check-store", str(directory)], capture_output=True, text=True).stdout


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGQUIT], ids=["stopped", "drained"])
def test_processes_have_a_cache_each_and_survive_a_restart(store, origin, tmp_path, how):
    origin.on("*", numbered)
    outrigger = store("mp")
    outrigger.await_children("proxy", 2)
    assert outrigger.children("store") == []

    def ask_each():
        with Connection(outrigger.port) as first, Connection(outrigger.port) as second:  # one is all that a process takes
            return [connection.request("/1/3000") for connection in (first, second)]

    for response in ask_each():
        assert response.body == body_of(1, 3000)
    assert origin.count() == 2
    for number in "01":
        until(lambda: " 1 responses" in check_store(tmp_path / "store" / number), timeout=20 * SLOW, what="a record")
    restart(outrigger, how)
    until(lambda: outrigger.errors().count(" 1 stored responses were found again") == 2, timeout=20 * SLOW, what="both to find theirs")
    for response in ask_each():
        assert response.body == body_of(1, 3000) and status_of(response)["hit"]
    assert origin.count() == 2


def test_a_process_that_dies_is_replaced_and_the_others_serve_on(store, origin):
    origin.on("*", numbered)
    outrigger = store("mp", workers=3)
    for role in ("proxy", "supervisor"):
        victim = outrigger.await_children(role, 3)[0]
        with Load(outrigger, {f"/{n}/3000": body_of(n, 3000) for n in range(20)}, clients=2, kept=False) as load:
            os.kill(victim, signal.SIGKILL)
            outrigger.await_children(role, 3, without=victim)
            outrigger.await_children("proxy", 3)
            so_far = load.count
            until(lambda: load.count > so_far + 100, timeout=30 * SLOW, what="answers")
            load.end()
        assert len(load.failures) <= 2  # whom the victim served


def test_processes_need_memory_each(store, make_outrigger, origin):
    outrigger = make_outrigger(config={"concurrency": "mp", "workers": 8, "cache": {"memory": "7MiB"}}, wait=False)
    assert outrigger.process.wait(20 * SLOW) == 1
    assert "less than 1 MiB for each" in outrigger.output_text() + outrigger.errors()


def test_in_one_loop_whoever_reads_the_disk_holds_up_everybody(store, origin):
    origin.on("*", numbered)
    outrigger = store("sped", size="8MiB", workers=1, disk={"read_delay": "50ms"})
    outrigger.get("/1/100")
    outrigger.get("/2/100")
    await_written(outrigger, 2)
    restart(outrigger)
    outrigger.get("/1/100")  # in memory from here on
    with Connection(outrigger.port) as hot, Connection(outrigger.port) as cold:
        assert hot.request("/1/100").status == cold.request("/1/100").status == 200
        began = time.monotonic()
        cold.send("GET /2/100 HTTP/1.1\r\nHost: site.test\r\n\r\n")
        for _ in range(2):  # the first may come in one turn of the loop with the other
            assert hot.request("/1/100").status == 200
        assert time.monotonic() - began > 0.04
