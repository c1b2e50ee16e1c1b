"""Tunnels: what follows a 101 goes both ways as it comes; what is refused is an ordinary response."""
import socket
import threading

import pytest

from harness.http import Connection
from harness.origin import CloseConnection
from harness.outrigger import SLOW
from harness.poll import at_pace, until

PRIVATE = {"Cache-Control": "no-store"}
UPGRADE = "GET {} HTTP/1.1\r\nHost: site.test\r\nConnection: Upgrade\r\nUpgrade: echo/1\r\n\r\n"
SWITCHED = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo/1\r\nX-Token: t\r\nContent-Length: 0\r\n\r\n"


def echo(request):
    """After its 101, sends back whatever comes until the client ends sending."""
    assert request.get("upgrade") == "echo/1" and "upgrade" in request.get("connection").lower()
    wire = request.connection
    request.send(SWITCHED)
    request.send(wire.buffer)
    while data := wire.socket.recv(65536):
        wire.socket.sendall(data)
    raise CloseConnection


def open_tunnel(outrigger, path, behind=b"", **options):
    client = outrigger.connect(timeout=20 * SLOW, **options)
    client.send(UPGRADE.format(path).encode() + behind)
    return client, client.head()


def test_an_upgrade_is_tunnelled_both_ways(proxy, back):
    back.on("/echo", echo)
    tunnels = proxy.metric("outrigger_tunnels_total")
    client, answer = open_tunnel(proxy, "/echo")
    with client:
        assert (answer.status, answer.get("upgrade"), answer.get("x-token")) == (101, "echo/1", "t")
        assert answer.get("connection").lower() == "upgrade" and answer.get("content-length") is None
        for n in range(20):
            assert client.send(b"frame %02d" % n).read_exactly(8) == b"frame %02d" % n
        client.end_sending()
        assert client.read_to_end() == b""
    assert proxy.metric("outrigger_tunnels_total") == tunnels + 1
    lines = until(lambda: [line for line in proxy.access_lines() if '"GET /echo ' in line], what="the access log line")
    assert '" 101 160 ' in lines[0]


def test_bytes_right_behind_the_head_are_not_lost_on_either_side(proxy, back):
    def greet(request):
        request.send(SWITCHED + "from the origin")
        wire = request.connection
        while len(wire.buffer) < 15:
            wire.buffer += wire.socket.recv(100)
        request.send(wire.buffer.upper())
        raise CloseConnection

    back.on("/greet", greet)
    client, answer = open_tunnel(proxy, "/greet", b"from the client")
    with client:
        assert answer.status == 101
        assert client.read_to_end() == b"from the originFROM THE CLIENT"


def test_bytes_for_the_tunnel_never_reach_an_origin_that_refuses_it(proxy, back):
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: site.test\r\n\r\n"
    back.on("/refuse", lambda request: request.answer(b"no", status="403 Forbidden", fields=PRIVATE))
    client, _ = open_tunnel(proxy, "/refuse", smuggled)
    with client:
        client.end_sending()
        client.read_to_end()
    assert back.last("/refuse").connection.buffer == b""
    assert not [r for r in back.requests if r.target == "/smuggled" and r.get("via") is None], "only as a request of its own"


@pytest.mark.parametrize("status", ["200 OK", "403 Forbidden", "426 Upgrade Required", "503 Later"])
def test_a_refused_upgrade_passes_the_final_response(proxy, back, status):
    path = f"/refused-{status.split()[0]}"
    back.on(path, lambda request: request.answer(b"no tunnel", status=status, fields=PRIVATE))
    client, answer = open_tunnel(proxy, path)
    with client:
        assert f"{answer.status} {answer.reason}" == status
        assert client.read_exactly(9) == b"no tunnel"
        if answer.get("connection") != "close":
            back.on("/after-refusal", b"still a client")
            assert client.request("/after-refusal").body == b"still a client"


def test_101_that_nobody_asked_for_is_502(proxy, back):
    back.on("/uninvited", lambda request: request.send(SWITCHED))
    answer = proxy.get("/uninvited")
    assert answer.status == 502 and b"origin sent a malformed response" in answer.body


def test_a_half_close_of_the_client_reaches_the_origin_which_may_go_on(proxy, back):
    def count(request):
        request.send(SWITCHED)
        wire, total = request.connection, len(request.connection.buffer)
        while data := wire.socket.recv(65536):
            total += len(data)
        request.send(b"%d bytes" % total)
        raise CloseConnection

    back.on("/count", count)
    client, _ = open_tunnel(proxy, "/count")
    with client:
        client.send(b"x" * 1000).end_sending()
        assert client.read_to_end() == b"1000 bytes"


def test_a_half_close_of_the_origin_reaches_the_client_which_may_go_on(proxy, back):
    received = []
    over = threading.Event()

    def farewell(request):
        request.send(SWITCHED + "that was it")
        wire = request.connection
        wire.end_sending()
        received.append(wire.read_to_end())
        over.set()
        raise CloseConnection

    back.on("/farewell", farewell)
    client, _ = open_tunnel(proxy, "/farewell")
    with client:
        assert client.read_to_end() == b"that was it"
        client.send(b"one more thing").end_sending()
        assert over.wait(20 * SLOW)
    assert received == [b"one more thing"]


def test_the_end_of_either_side_ends_the_other(proxy, back):
    ended = threading.Event()

    def wait_for_end(request):
        request.send(SWITCHED)
        request.connection.read_to_end()
        ended.set()
        raise CloseConnection

    back.on("/client-ends", wait_for_end)
    client, _ = open_tunnel(proxy, "/client-ends")
    client.close()
    assert ended.wait(20 * SLOW)


def test_a_quiet_tunnel_is_closed_after_a_while(make_outrigger, origin):
    outrigger = make_outrigger(origin=origin.url, site={"timeouts": {"tunnel_idle": "200ms"}})
    ended = threading.Event()

    def quiet(request):
        request.send(SWITCHED)
        request.connection.read_to_end()
        ended.set()
        raise CloseConnection

    origin.on("*", quiet)
    client, answer = open_tunnel(outrigger, "/quiet")
    with client:
        assert answer.status == 101
        assert client.closed_by_peer()
    assert ended.wait(20 * SLOW)


def test_a_busy_tunnel_outlives_the_idle_timeout(make_outrigger, origin):
    outrigger = make_outrigger(origin=origin.url, site={"timeouts": {"tunnel_idle": "1s"}})
    origin.on("*", echo)

    def talk(pace):
        with open_tunnel(outrigger, "/busy")[0] as client:
            for _ in range(10):  # each pause is far below the timeout, all of them together above it
                assert client.send(b"ping").read_exactly(4) == b"ping"
                threading.Event().wait(0.15)
                pace()

    at_pace(talk, 0.5)


def test_what_an_origin_said_before_it_left_reaches_a_client_that_reads_late(make_outrigger, origin):
    """Both ways of the origin's connection have ended, with bytes that wait for room."""
    total, left = 384 << 10, threading.Event()

    def say_and_leave(request):
        request.send(SWITCHED)
        request.connection.read_to_end()
        request.send(bytes(total))
        left.set()
        raise CloseConnection

    origin.on("*", say_and_leave)
    outrigger = make_outrigger(origin=origin.url, config={"workers": 1})
    client, _ = open_tunnel(outrigger, "/late", receive_buffer=4096)
    with client:
        client.end_sending()
        assert left.wait(20 * SLOW)
        for _ in range(20):  # turns of the loop, in which the origin's end comes
            outrigger.metrics()
        assert len(client.read_to_end()) == total


def test_a_tunnel_keeps_every_byte_when_both_sides_pour(proxy, back):
    total = 4 << 20
    back.on("/pour", echo)
    client, _ = open_tunnel(proxy, "/pour")
    block = bytes(range(256)) * 256
    with client:
        pouring = threading.Thread(target=lambda: [client.send(block) for _ in range(total // len(block))] and client.end_sending())
        pouring.start()
        received = client.read_to_end()
        pouring.join()
    assert len(received) == total and received == block * (total // len(block))


@pytest.mark.parametrize("stuck_side", ["client", "origin"])
def test_a_side_that_does_not_read_stops_the_other_one_only(make_outrigger, origin, stuck_side):
    """What a stuck tunnel keeps is bounded, and every byte of it arrives once it is read again."""
    outrigger = make_outrigger(origin=origin.url, config={"workers": 1})
    go_on, poured = threading.Event(), threading.Event()
    block, sent, received = bytes(range(256)) * 256, [0], []

    def pour(wire):
        wire.settimeout(0.5 * SLOW)
        data = b""
        try:
            while sent[0] < 64 << 20:
                data = data or block
                count = wire.send(data)
                sent[0] += count
                data = data[count:]
        except socket.timeout:
            pass
        wire.settimeout(30 * SLOW)
        wire.shutdown(socket.SHUT_WR)
        poured.set()

    def serve(request):
        request.send(SWITCHED)
        wire = request.connection
        if stuck_side == "client":
            pour(wire.socket)
            wire.read_to_end()
        else:
            go_on.wait(60 * SLOW)
            received.append(wire.read_to_end())
        raise CloseConnection

    origin.on("/stuck", serve)
    origin.on("/other", b"other")
    with Connection(outrigger.port, timeout=60 * SLOW) as client:
        client.send(UPGRADE.format("/stuck"))
        assert client.head().status == 101
        if stuck_side == "origin":
            pour(client.socket)
        assert poured.wait(60 * SLOW)
        assert 0 < sent[0] < 32 << 20
        assert outrigger.get("/other").body == b"other"
        go_on.set()
        if stuck_side == "client":
            received.append(client.read_to_end())
            client.end_sending()
        else:
            assert client.read_to_end() == b""
    assert len(received[0]) == sent[0]
    assert received[0] == (block * (sent[0] // len(block) + 1))[: sent[0]]
