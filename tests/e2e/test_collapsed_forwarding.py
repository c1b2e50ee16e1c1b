"""Collapsed forwarding: many clients ask for the same thing at once, the origin is asked once, and everybody has each byte as it arrives."""
import itertools
import threading

import pytest

from harness.bulk import body_of
from harness.crowd import Crowd
from harness.http import Truncated
from harness.outrigger import SLOW
from harness.poll import until

HOST = "Host: site.test\r\n"
FRESH = {"Cache-Control": "max-age=60"}

PIECES = [b"A" * 1000, b"B" * 70000, b"C" * 10, b"D" * 200000]


def in_pieces(gates, fields=b"Cache-Control: max-age=60\r\nContent-Length: %d\r\n" % sum(map(len, PIECES))):
    """Sends the head and the first piece once the first gate is open, each further piece at the next."""
    def answer(request):
        for n, (gate, piece) in enumerate(zip(gates, PIECES)):
            assert gate.wait(120)
            request.send((b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n" if n == 0 else b"") + piece)
    return answer


@pytest.mark.threads
@pytest.mark.parametrize("count", [1000])
def test_a_thousand_clients_of_a_cold_key_make_one_origin_request_and_all_stream(make_outrigger, origin, count):
    gates = [threading.Event() for _ in PIECES]
    origin.on("/cold", in_pieces(gates))
    outrigger = make_outrigger(origin=origin.url)
    with Crowd(outrigger.port, count, f"GET /cold HTTP/1.1\r\n{HOST}\r\n".encode()).send() as crowd:
        until(lambda: outrigger.metric("outrigger_collapsed_requests_total") == count - 1, timeout=30 * SLOW, what="all to wait for one fetch")
        expected = b""
        for gate, piece in zip(gates, PIECES):
            gate.set()
            expected += piece
            # Everybody has this piece before the origin sends the next one.
            crowd.until(lambda member: len(member.body) == len(expected), what=f"byte {len(expected)}")
        assert all(member.status == 200 and member.body == expected for member in crowd.members)
        heads = [bytes(member.received.partition(b"\r\n\r\n")[0]) for member in crowd.members]
        assert sum(b"; collapsed" in head for head in heads) == count - 1
    assert origin.count() == 1
    assert outrigger.get("/cold").body == b"".join(PIECES) and origin.count() == 1


@pytest.mark.threads
def test_waiters_of_a_private_response_each_get_their_own(make_outrigger, origin):
    gate, number = threading.Event(), itertools.count()

    def answer(request):
        n = next(number)
        gate.wait(60)
        request.answer(f"private {n:3}", fields={"Cache-Control": "private"})

    origin.on("/mine", answer)
    outrigger = make_outrigger(origin=origin.url)
    with Crowd(outrigger.port, 100, f"GET /mine HTTP/1.1\r\n{HOST}\r\n".encode()).send() as crowd:
        until(lambda: outrigger.metric("outrigger_collapsed_requests_total") == 99, timeout=30 * SLOW, what="all to wait for one fetch")
        until(lambda: origin.count() == 1, timeout=30 * SLOW, what="the origin to be asked")
        gate.set()
        crowd.until(lambda member: len(member.body) == 11)
        assert len({member.body for member in crowd.members}) == 100
    assert origin.count() == 100


@pytest.mark.threads
def test_waiters_of_another_variant_get_theirs(make_outrigger, origin):
    gate = threading.Event()
    origin.on("/page", lambda request: (gate.wait(60), request.answer("kind " + request.get("x-kind"), fields={**FRESH, "Vary": "X-Kind"})))
    outrigger = make_outrigger(origin=origin.url)
    with Crowd(outrigger.port, 90, lambda n: f"GET /page HTTP/1.1\r\n{HOST}X-Kind: {n % 3}\r\n\r\n".encode()).send() as crowd:
        until(lambda: outrigger.metric("outrigger_collapsed_requests_total") == 89, timeout=30 * SLOW, what="all to wait for one fetch")
        gate.set()
        crowd.until(lambda member: len(member.body) == 6)
        assert [member.body for member in crowd.members] == [b"kind %d" % (n % 3) for n in range(90)]
    assert origin.count() == 3, "one request a variant"


@pytest.mark.threads
def test_an_error_reaches_all_who_waited(make_outrigger, origin):
    gate = threading.Event()

    def fail(request):
        gate.wait(60)
        raise Truncated

    origin.on("/broken", fail)
    outrigger = make_outrigger(origin=origin.url, site={"retries": 0})
    with Crowd(outrigger.port, 100, f"GET /broken HTTP/1.1\r\n{HOST}\r\n".encode()).send() as crowd:
        until(lambda: outrigger.metric("outrigger_collapsed_requests_total") == 99, timeout=30 * SLOW, what="all to wait for one fetch")
        gate.set()
        crowd.until(lambda member: member.body.endswith(b"</html>\n"))
        assert {member.status for member in crowd.members} == {502}
    assert 2 <= origin.count() <= 4, "one of those who waited asks again, on each loop at most"
    origin.on("/broken", b"mended")
    assert until(lambda: outrigger.get("/broken").body == b"mended", what="the origin to be asked again")


@pytest.mark.threads
def test_truncation_reaches_all_who_were_being_answered(make_outrigger, origin):
    gates = [threading.Event() for _ in PIECES]

    def cut(request):
        in_pieces(gates[:2])(request)
        gates[2].wait(60)
        raise Truncated

    origin.on("/cut", cut)
    outrigger = make_outrigger(origin=origin.url)
    with Crowd(outrigger.port, 100, f"GET /cut HTTP/1.1\r\n{HOST}\r\n".encode()).send() as crowd:
        until(lambda: outrigger.metric("outrigger_collapsed_requests_total") == 99, timeout=30 * SLOW, what="all to wait for one fetch")
        gates[0].set(), gates[1].set()
        crowd.until(lambda member: len(member.body) == 71000)
        gates[2].set()
        crowd.until(lambda member: member.ended, what="the end")
        assert all(len(member.body) == 71000 for member in crowd.members)
    origin.on("/cut", b"whole")
    assert outrigger.get("/cut").body == b"whole"


@pytest.mark.threads
def test_the_one_who_asked_first_may_leave(make_outrigger, origin):
    gates = [threading.Event() for _ in PIECES]
    origin.on("/page", in_pieces(gates))
    outrigger = make_outrigger(origin=origin.url)
    first = outrigger.connect()
    first.send(f"GET /page HTTP/1.1\r\n{HOST}\r\n")
    until(lambda: origin.count() == 1)
    with Crowd(outrigger.port, 50, f"GET /page HTTP/1.1\r\n{HOST}\r\n".encode()).send() as crowd:
        until(lambda: outrigger.metric("outrigger_collapsed_requests_total") == 50, timeout=30 * SLOW, what="all to wait for one fetch")
        gates[0].set()
        assert first.head().status == 200
        first.reset()
        outrigger.await_access_lines(1)
        for gate in gates:
            gate.set()
        crowd.until(lambda member: member.body == b"".join(PIECES))
    assert origin.count() == 1


@pytest.mark.threads
def test_what_nobody_waits_for_any_more_is_still_stored(make_outrigger, origin):
    gates = [threading.Event() for _ in PIECES]
    origin.on("/page", in_pieces(gates))
    outrigger = make_outrigger(origin=origin.url)
    with outrigger.connect() as client:
        client.send(f"GET /page HTTP/1.1\r\n{HOST}\r\n")
        gates[0].set()
        assert client.head().status == 200
        client.reset()
    outrigger.await_access_lines(1)
    for gate in gates:
        gate.set()
    assert outrigger.get("/page").body == b"".join(PIECES) and origin.count() == 1


@pytest.mark.threads
def test_a_slow_reader_holds_nobody_up(make_outrigger, origin):
    size = 6 << 20
    origin.on("/big", lambda request: request.answer(body_of("/big", size), fields=FRESH))
    outrigger = make_outrigger(origin=origin.url)
    with outrigger.connect(receive_buffer=4096) as slow:
        slow.send(f"GET /big HTTP/1.1\r\n{HOST}\r\n")
        assert slow.head().status == 200
        with Crowd(outrigger.port, 8, f"GET /big HTTP/1.1\r\n{HOST}\r\n".encode()).send() as crowd:
            crowd.until(lambda member: len(member.received) > size and member.body == body_of("/big", size))
        assert slow.read_exactly(size) == body_of("/big", size)
    assert origin.count() == 1


@pytest.mark.threads
def test_who_comes_late_to_a_fill_gets_it_from_the_beginning(make_outrigger, origin):
    gates = [threading.Event() for _ in PIECES]
    origin.on("/page", in_pieces(gates, b"Cache-Control: max-age=60\r\nContent-Length: %d\r\n" % sum(map(len, PIECES))))
    outrigger = make_outrigger(origin=origin.url)
    crowds = []
    sent = 0
    for gate, piece in zip(gates, PIECES):
        crowds.append(Crowd(outrigger.port, 10, f"GET /page HTTP/1.1\r\n{HOST}\r\n".encode()).send())
        gate.set()
        sent += len(piece)
        for crowd in crowds:
            crowd.until(lambda member: len(member.body) == sent)
    for crowd in crowds:
        assert all(member.body == b"".join(PIECES) for member in crowd.members)
        crowd.__exit__()
    assert origin.count() == 1
