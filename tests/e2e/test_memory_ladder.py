"""Memory gets short: what is given up, a rung after the other, and that it comes back (HARDENING, resources). `limits.memory` is lowered by a reload until what is in
use has the part of it that the rung is for; what is in use is then more than before, for the server."""
import json
import os
import select
import signal
import socket
import threading

import pytest

from harness.h2 import GOAWAY, H2, NO_ERROR, serve_http2
from harness.outrigger import SLOW
from harness.poll import until
from harness.ports import free_port
from harness.status import status_of

FRESH, STALE = {"Cache-Control": "max-age=1000"}, {"Cache-Control": "max-age=60, stale-if-error=1000", "Age": "100"}
PERCENT = {1: 87, 2: 92.5, 3: 96, 4: 120}  # where a rung is reached…
HOLD = {1: 86, 3: 95, 4: 120}  # …and where it is held: as far from the rung below as from the one above
MIB = 1 << 20
# What is freed is used again: else ASan keeps it for a while, and what is in use grows with each request.
ENVIRONMENT = {"ASAN_OPTIONS": ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "quarantine_size_mb=1", "thread_local_quarantine_size_kb=64"]))}


def level(outrigger):
    return outrigger.metric("outrigger_memory_level")


def used(outrigger):
    return until(lambda: outrigger.metric("outrigger_memory_used_bytes"), what="a look")


def limit_memory(outrigger, limit):
    outrigger.config.setdefault("limits", {})["memory"] = limit if isinstance(limit, str) else f"{int(limit)}B"
    outrigger.write_config()
    outrigger.ctl("reload")


def slab_bytes_in_memory(outrigger):
    """Of the memory file that stored responses lie in, whoever has it mapped."""
    (proxy,) = outrigger.children("proxy")
    for fd in os.listdir(f"/proc/{proxy}/fd"):
        if "memfd:outrigger-slab" in os.readlink(f"/proc/{proxy}/fd/{fd}"):
            return os.stat(f"/proc/{proxy}/fd/{fd}").st_blocks * 512
    raise AssertionError("no slab")


def used_now(outrigger):
    """What the server's next look will find."""
    (proxy,) = outrigger.children("proxy")
    _, resident, shared = map(int, open(f"/proc/{proxy}/statm").read().split()[:3])
    return (resident - shared) * os.sysconf("SC_PAGESIZE") + slab_bytes_in_memory(outrigger)


def bring_to(outrigger, rung):
    """What is in use changes while it is brought there: what malloc has is given back on the way. So it may take more than one attempt."""
    for _ in range(20):
        limit = used_now(outrigger) * 100 / PERCENT[rung]
        limit_memory(outrigger, limit)
        until(lambda: outrigger.metric("outrigger_memory_limit_bytes") == int(limit), what="the limit to be looked at")
        try:
            until(lambda: level(outrigger) == rung, 3 * SLOW)
            limit_memory(outrigger, used_now(outrigger) * 100 / HOLD[rung])
            return
        except AssertionError:
            relieve(outrigger)
    raise AssertionError(f"rung {rung} was not reached: {outrigger.errors()}")


def relieve(outrigger, how="off"):
    limit_memory(outrigger, how)
    if how == "off":
        until(lambda: outrigger.metric("outrigger_memory_limit_bytes") == 0, what="the end of the limit")
    until(lambda: level(outrigger) == 0, what="the way back")


@pytest.fixture
def make_server(make_outrigger, origin):
    def make(**config):
        return serve_http2(make_outrigger, {"limits": {"memory": "off"}, **config}, origin=origin.url, environment=ENVIRONMENT)

    return make


class Readers:
    """Clients that take the head of a large response and no more: what they read is in memory, and cannot be evicted."""

    BODY = os.urandom(8 << 20)

    def __init__(self, outrigger, paths):
        self.clients = [outrigger.connect(receive_buffer=8192) for _ in paths]
        for client, path in zip(self.clients, paths):
            client.send(f"GET {path} HTTP/1.1\r\nHost: site.test\r\n\r\n")
            assert client.head().status == 200
        until(lambda: outrigger.metric("outrigger_cache_fills") == 0, what="all of it to be there")

    def close(self):
        for client in self.clients:
            client.close()


@pytest.fixture
def server(make_server, origin):
    """With most of its memory taken by what cannot be evicted, so that what else happens moves it little."""
    origin.on("/fresh", lambda request: request.answer(Readers.BODY, fields=FRESH))
    origin.on("/stale", lambda request: request.answer(Readers.BODY, fields=STALE))
    origin.on("/old", lambda request: request.answer(Readers.BODY, fields={"Cache-Control": "max-age=60", "Age": "100", "ETag": '"1"'}))
    origin.on("/background", lambda request: request.answer(Readers.BODY, fields={"Cache-Control": "max-age=60, stale-while-revalidate=1000", "Age": "100"}))
    outrigger = make_server(cache={"memory": "64MiB"}, timeouts={"write_stall": "1h"})
    readers = Readers(outrigger, ("/fresh", "/stale", "/old", "/background"))
    yield outrigger
    readers.close()


def is_closed(client):
    return until(lambda: select.select([client.socket], [], [], 0)[0], what="the connection to end") and client.closed_by_peer()


def test_what_is_used_and_what_the_limit_is_are_told(make_server):
    outrigger = make_server(limits={"memory": "3GiB"})
    assert used(outrigger) > 0
    assert outrigger.metric("outrigger_memory_limit_bytes") in (3 << 30, 0) or "control group" in outrigger.errors()
    assert level(outrigger) == 0 and outrigger.metric("outrigger_memory_level_entered_total") == 0
    resident = outrigger.metric("outrigger_process_resident_memory_bytes")
    assert 0 < used(outrigger) < 2 * resident
    assert abs(used(outrigger) - used_now(outrigger)) < 0.2 * resident


def test_the_first_rung_ends_keep_alive_and_no_more(server, origin):
    origin.on("/page", b"hello")
    with server.connect() as idle, server.connect() as new:
        assert idle.request("/page").get("connection") is None
        bring_to(server, 1)
        assert is_closed(idle), "after a moment"
        with server.connect() as client:
            response = client.request("/page")
            assert (response.status, response.body, response.get("connection")) == (200, b"hello", "close")
            assert is_closed(client)
        assert server.get("/other").status in (200, 404, 502) and origin.count("/other") == 1, "misses are fetched"
    relieve(server, "auto")
    with server.connect() as client:
        assert [client.request("/page").get("connection") for _ in range(3)] == [None] * 3
    assert server.metric("outrigger_memory_level_entered_total", level="ends_keep_alive") >= 1
    until(lambda: " of 4)" in server.errors() and "everything is as usual again (level 0 of 4)" in server.errors(), what="the log to tell")


def test_the_first_rung_ends_http2_connections_when_they_have_nothing_under_way(server, origin):
    go, came = threading.Event(), threading.Event()
    origin.on("/held", lambda request: (came.set(), go.wait(30), request.answer("held", fields=FRESH))).on("/page", b"hello")
    with H2(server.port) as idle, H2(server.port) as busy, H2(server.port) as fresh:
        assert idle.get("/page").body == b"hello"
        held = busy.ask("/held")
        assert came.wait(20)
        fresh.ping()
        bring_to(server, 1)
        assert idle.read_kind(GOAWAY).code == NO_ERROR
        idle.end()
        assert busy.get("/page").body == b"hello", "while it has something under way it may ask for more"
        go.set()
        assert busy.response(held).body == b"held"
        assert busy.read_kind(GOAWAY).code == NO_ERROR
        assert busy.goaway().code == NO_ERROR
        with H2(server.port) as late:
            assert late.get("/page").body == b"hello", "who comes now has one turn"
            assert late.read_kind(GOAWAY).code == NO_ERROR
    relieve(server)
    with H2(server.port) as client:
        assert client.get("/page").body == b"hello"
        client.ping()
        assert client.get("/page").body == b"hello"


def fetch_many(outrigger, count, prefix="/many"):
    with outrigger.connect() as client:
        for number in range(count):
            response = client.request(f"{prefix}/{number}")
            assert response.status == 200 and len(response.body) == 200000
            if response.get("connection") == "close":
                client.close()
                client.__init__(outrigger.port)


@pytest.fixture
def bulky(origin):
    body = os.urandom(200000)
    origin.on("*", lambda request: request.answer(body, fields=FRESH))
    return body


def test_the_second_rung_evicts_and_the_kernel_has_the_memory_again(make_server, bulky):
    server = make_server(cache={"memory": "64MiB"})
    fetch_many(server, 250)
    before, in_use = slab_bytes_in_memory(server), used_now(server)
    assert before > 40 * MIB and server.metric("outrigger_cache_memory_held_bytes") >= before
    limit = in_use * 100 / PERCENT[2]
    limit_memory(server, limit)
    until(lambda: server.metric("outrigger_memory_level_entered_total", level="evicts") == 1, what="the rung")
    # A rung is counted before all workers serve by it: until then the level is the one before.
    until(lambda: used(server) < 0.83 * limit and level(server) == 0, what="the way back, by what was evicted")
    assert slab_bytes_in_memory(server) < before - 0.05 * limit
    assert server.metric("outrigger_memory_given_back_bytes_total") >= before - slab_bytes_in_memory(server)
    assert server.metric("outrigger_cache_evictions_total") > 0 and server.metric("outrigger_memory_level_entered_total", level="refuses_misses") == 0
    hits = [status_of(server.get(f"/many/{number}")).get("hit") for number in range(230, 250)]
    assert any(hits), "what is left is served"
    fetch_many(server, 250, "/others")
    assert used(server) < 0.85 * limit, "and the cache does not grow into it again"
    relieve(server)
    fetch_many(server, 250, "/again")
    assert slab_bytes_in_memory(server) > before - 4 * MIB, "until there is room"


def test_a_cache_that_does_not_fit_grows_as_far_as_it_does_and_nothing_is_given_up(make_server, bulky):
    server = make_server(cache={"memory": "256MiB"})
    limit = used_now(server) / 0.8 + 24 * MIB
    limit_memory(server, limit)
    until(lambda: server.metric("outrigger_memory_limit_bytes") == int(limit), what="the limit to be looked at")
    fetch_many(server, 300)
    assert server.metric("outrigger_cache_evictions_total") > 0 and 8 * MIB < slab_bytes_in_memory(server) < 24 * MIB
    assert server.metric("outrigger_memory_level_entered_total") == 0 and used(server) <= 0.85 * limit
    assert server.metric("outrigger_cache_admission_failures_total") == 0
    until(lambda: "do not fit into the" in server.errors(), what="the log to tell")


def test_the_third_rung_refuses_what_would_have_to_be_fetched(server, origin):
    go, came = threading.Event(), threading.Event()

    def slowly(request):
        request.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nCache-Control: max-age=60\r\n\r\nhalf")
        came.set()
        assert go.wait(30 * SLOW)
        request.send(b"done")

    origin.on("/slow", slowly)
    with server.connect() as slow:
        slow.send("GET /slow HTTP/1.1\r\nHost: site.test\r\n\r\n")
        assert came.wait(20)
        bring_to(server, 3)
        asked = origin.count()
        fresh = server.get("/fresh")
        assert (fresh.status, fresh.body, status_of(fresh).get("hit")) == (200, Readers.BODY, True)
        for method, path, fields in (("GET", "/miss", ()), ("HEAD", "/miss", ()), ("POST", "/fresh", ()), ("GET", "/old", ()), ("GET", "/miss", {"Upgrade": "x", "Connection": "upgrade"})):
            response = server.get(path, method=method, fields=fields, body=b"body" if method == "POST" else None)
            assert (response.status, response.get("retry-after"), response.get("connection")) == (503, "1", "close"), (method, path)
            assert status_of(response)["detail"] == "memory-short" and (method == "HEAD" or b"too little memory" in response.body)
        stale = server.get("/stale")
        assert (stale.status, stale.body, status_of(stale)) == (200, Readers.BODY, {"fwd": "stale", "detail": "memory-short"})
        background = server.get("/background")
        assert (background.status, background.body, status_of(background)["detail"]) == (200, Readers.BODY, "stale-while-revalidate")
        assert server.get("/fresh", method="HEAD").status == 200, "what POST did not do, it did not make invalid"
        go.set()
        assert slow.response().body == b"halfdone", "what is under way goes on"
        assert origin.count() == asked and server.metric("outrigger_memory_refused_requests_total") == 6
        with H2(server.port) as client:
            response = client.get("/miss")
            assert (response.status, response.get("retry-after")) == (503, "1")
    relieve(server)
    assert server.get("/miss").status != 503 and origin.count("/miss") == 1
    assert server.get("/stale").status == 200 and origin.count("/stale") == 2
    until(lambda: any('"GET /miss HTTP/1.1" 503' in line and "memory-short" in line for line in server.access_lines()), what="the access log to tell")


SLICE = 4 << 20


def in_slices(request):
    first, last = (int(text) for text in request.get("range").removeprefix("bytes=").split("-"))
    part = Readers.BODY[first : last + 1]
    request.answer(part, "206 Partial Content", {**FRESH, "ETag": '"1"', "Content-Range": f"bytes {first}-{first + len(part) - 1}/{len(Readers.BODY)}"})


def test_the_third_rung_refuses_what_slices_would_have_to_be_fetched_for(server, origin):
    origin.on("/sliced", in_slices)
    with server.connect(receive_buffer=8192) as reader:  # who has one keeps it from being evicted
        reader.send(f"GET /sliced HTTP/1.1\r\nHost: site.test\r\nRange: bytes=0-{SLICE - 1}\r\n\r\n")
        assert reader.head().status == 206
        until(lambda: server.metric("outrigger_cache_fills") == 0, what="all of it to be there")
        bring_to(server, 3)
        asked = origin.count("/sliced")
        part = server.get("/sliced", fields={"Range": "bytes=10-19"})
        assert (part.status, part.body, status_of(part).get("hit")) == (206, Readers.BODY[10:20], True)
        assert server.get("/sliced", method="HEAD").status == 200
        refused = server.metric("outrigger_memory_refused_requests_total")
        for wanted in ({"Range": f"bytes={SLICE}-"}, {"Range": f"bytes={SLICE - 5}-{SLICE + 5}"}, {"Range": f"bytes=0-4,{SLICE}-{SLICE + 5}"}, {}):
            response = server.get("/sliced", fields=wanted)
            assert (response.status, response.get("retry-after")) == (503, "1"), wanted
            assert status_of(response) == {"fwd": "partial", "detail": "memory-short"}
        with H2(server.port) as client:
            assert client.get("/sliced", fields=[("range", f"bytes={SLICE}-")]).status == 503
        assert server.metric("outrigger_memory_refused_requests_total") == refused + 5 and origin.count("/sliced") == asked
        assert why(server, "/sliced")["outcome"] == "refused"
        relieve(server)
        response = server.get("/sliced", fields={"Range": f"bytes={SLICE}-{SLICE + 5}"})
        assert (response.status, response.body) == (206, Readers.BODY[SLICE : SLICE + 6])


def why(outrigger, path, *fields):
    return json.loads(outrigger.ctl("--json", "why", f"http://site.test{path}", *fields).stdout)


def test_why_tells_what_becomes_of_a_request_when_memory_is_short(server, origin):
    assert why(server, "/miss")["memory"] is None and "Memory:" not in server.ctl("why", "http://site.test/miss").stdout
    bring_to(server, 3)
    told = {path: why(server, path) for path in ("/miss", "/old", "/stale", "/background", "/fresh")}
    assert [(path, told[path]["outcome"], told[path]["detail"]) for path in told] == [
        ("/miss", "refused", "memory-short"), ("/old", "refused", "memory-short"), ("/stale", "stale", "memory-short"), ("/background", "stale", "stale-while-revalidate"), ("/fresh", "hit", None)]
    for path in told:
        memory = told[path]["memory"]
        assert memory["level"] == 3 and 0 < memory["used_bytes"] < 1.1 * memory["limit_bytes"] and "origins are asked for nothing" in memory["sentence"]
        response = server.get(path)
        detail = status_of(response).get("detail")
        assert (response.status, detail) == (503 if told[path]["outcome"] == "refused" else 200, told[path]["detail"]), path
    text = server.ctl("why", "http://site.test/miss").stdout
    assert "The next such request gets 503: memory is too short to ask the origin." in text and "Why: uri-miss: " in text
    assert "MiB (limits.memory): stored responses are evicted, and origins are asked for nothing." in text
    relieve(server)
    assert why(server, "/miss")["memory"] is None and why(server, "/miss")["outcome"] == "miss"


def test_the_last_rung_lets_new_clients_wait_and_serves_those_who_are_there(server, origin):
    origin.on("/page", b"hello")
    go = threading.Event()
    origin.on("/held", lambda request: (go.wait(30 * SLOW), request.answer("held", fields=FRESH)))
    with server.connect() as there:
        there.send("GET /held HTTP/1.1\r\nHost: site.test\r\n\r\n")
        until(lambda: origin.count("/held") == 1, what="the request at the origin")
        bring_to(server, 4)
        with server.connect() as waiting:
            waiting.send("GET /page HTTP/1.1\r\nHost: site.test\r\n\r\n")
            go.set()
            assert there.response().body == b"held"
            assert server.stats()["gauges"]["memory_level"] == 4, "operators are served"
            assert not select.select([waiting.socket], [], [], 0.2)[0]
            limit_memory(server, "auto")
            assert waiting.response().status in (200, 503), "its turn has come"
    until(lambda: level(server) == 0, what="the way back")
    assert server.get("/page").body == b"hello"
    assert "no new client is accepted (level 4 of 4)" in server.errors()


def test_a_reload_and_new_listeners_at_the_last_rung_open_nothing(server, origin):
    origin.on("/page", b"hello")
    bring_to(server, 4)
    more = free_port()
    server.config["listen"].append({"address": f"127.0.0.1:{more}"})
    server.write_config()
    server.ctl("reload")
    with socket.create_connection(("127.0.0.1", more), 20 * SLOW) as waiting:
        waiting.sendall(b"GET /page HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n")
        assert not select.select([waiting], [], [], 0.2)[0]
        relieve(server)
        assert waiting.recv(12) in (b"HTTP/1.1 200", b"HTTP/1.1 503")


def test_a_drain_while_memory_is_short_ends(make_server, origin):
    origin.on("/page", b"hello")
    server = make_server()
    with server.connect() as client:
        client.request("/page")
        bring_to(server, 4)
        server.send_signal(signal.SIGQUIT)
        assert server.process.wait(30 * SLOW) == 0


@pytest.mark.threads
def test_requests_of_all_kinds_while_memory_comes_and_goes(make_server, origin, bulky):
    server = make_server(cache={"memory": "64MiB"})
    fetch_many(server, 100)
    wrong, done = [], threading.Event()

    def ask(seed):
        number = seed
        while not done.is_set():
            number += 7
            response = server.get(f"/many/{number % 400}")
            if response.status not in (200, 503) or (response.status == 200 and response.body != bulky):
                wrong.append(response)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    in_use = used_now(server)
    for percent in (92, 96, 60, 99, 86):
        limit_memory(server, in_use * 100 / percent)
        until(lambda: server.metric("outrigger_memory_limit_bytes") == int(in_use * 100 / percent), what="the limit to be looked at")
    relieve(server)
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong and server.metric("outrigger_memory_given_back_bytes_total") > 0
