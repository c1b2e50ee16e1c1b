"""Fields by HTTP/2, of requests and of responses: what is kept from one to the next, on either side, makes no difference to what they say."""
import random

import pytest

from harness.h2 import *

PRIVATE = {"Cache-Control": "no-store"}


@pytest.fixture(scope="module")
def server(back, make_module_outrigger):
    return serve_http2(make_module_outrigger, origin=back.url)


@pytest.fixture
def client(server):
    with H2(server.port, window=1 << 24) as client:
        yield client


def coded(client, requests):
    """HEADERS frames of requests, compressed as clients do."""
    frames = []
    for fields in requests:
        frames.append(frame(HEADERS, END_HEADERS | END_STREAM, client.next_stream, client.encoder.encode(fields)))
        client.next_stream += 2
    return frames


def told(request):
    """What the origin got of what the client said."""
    return sorted((name.lower(), value) for name, value in request.fields if name.lower().startswith("x-own") or name.lower() == "cookie")


def test_requests_of_one_read_keep_their_own_fields(client, back, path):
    """Now the same fields again, now some of them, in another order, with other values, or as a different number of crumbs."""
    chance = random.Random(1)
    back.on(path, lambda request: request.answer("x", fields=PRIVATE))
    usual = [("x-own-a", "1"), ("cookie", "a=1"), ("cookie", "b=2"), ("x-own-b", "2" * 50), ("cookie", "c=3"), ("x-own-c", "")]
    requests, expected = [], []
    for number in range(120):
        fields = list(usual)
        if number % 3 == 1:
            fields = fields[: chance.randrange(len(fields) + 1)] + [("x-own-d", str(chance.randrange(4)))]
        elif number % 3 == 2:
            fields = chance.sample(fields, chance.randrange(len(fields) + 1))
        target = f"{path}?{number:0{chance.choice((3, 60))}}"
        back.on(target, lambda request: request.answer("x", fields=PRIVATE))
        crumbs = "; ".join(value for name, value in fields if name == "cookie")
        expected.append((target, sorted([f for f in fields if f[0] != "cookie"] + ([("cookie", crumbs)] if crumbs else []))))
        requests.append(request(target, fields=fields))
    for first in range(0, len(requests), 40):
        streams = [client.next_stream + 2 * n for n in range(40)]
        client.send(*coded(client, requests[first : first + 40]))
        for stream, (target, fields) in zip(streams, expected[first : first + 40]):
            assert client.response(stream).status == 200
            assert told(back.last(target)) == fields


def test_a_malformed_field_among_repeated_ones(client, back, path):
    back.on(path, lambda request: request.answer("x", fields=PRIVATE))
    good = request(path, fields=[("x-own-a", "1"), ("x-own-b", "2")])
    bad = request(path, fields=[("x-own-a", "1"), ("connection", "close"), ("x-own-b", "2")])
    first = client.next_stream
    client.send(*coded(client, [good, bad, good, [*good, (":path", "/other")], good]))
    outcomes = [client.response(first + 2 * n) for n in range(5)]
    assert [(response.status, response.reset) for response in outcomes] == [
        (200, None), (None, PROTOCOL_ERROR), (200, None), (None, PROTOCOL_ERROR), (200, None)]
    assert all(told(r) == [("x-own-a", "1"), ("x-own-b", "2")] for r in back.requests if r.target == path)


def test_too_many_fields_among_repeated_ones(client, back, path):
    """Limits count what is repeated as well."""
    back.on(path, lambda request: request.answer("x", fields=PRIVATE))
    field = ("x-own-a", "v" * 200)
    few, many = request(path, fields=[field] * 20), request(path, fields=[field] * 150)
    first = client.next_stream
    client.send(*coded(client, [few, many, few]))
    assert [client.response(first + 2 * n).status for n in range(3)] == [200, 431, 200]


def test_a_response_head_of_several_frames(client, back, path):
    fields = {"Cache-Control": "max-age=60", **{f"X-Large-{n}": chr(97 + n) * 7000 for n in range(4)}}
    back.on(path, lambda request: request.answer("x", fields=fields))
    for _ in range(3):
        response = client.get(path)
        assert (response.status, response.body) == (200, b"x")
        assert [response.get(f"x-large-{n}") for n in range(4)] == [chr(97 + n) * 7000 for n in range(4)]


def test_heads_that_wait_for_a_client_that_does_not_read(server, back, path):
    """They are encoded when they leave, in the order in which they leave."""
    def answer(request):
        number = request.target.rsplit("=", 1)[1]
        request.answer("y" * 200000, fields={"Cache-Control": "max-age=60", "X-Number": number, "X-Shared": "s" * 20, f"X-Own-{number}": "o"})
    with H2(server.port, say=[(INITIAL_WINDOW_SIZE, 1 << 30)], window=1 << 30, receive_buffer=4096) as client:
        targets = [f"{path}?n={number}" for number in range(60)]
        for target in targets:
            back.on(target, answer)
        streams = [client.ask(target) for target in targets]
        for number, stream in enumerate(streams):
            response = client.response(stream, update=False)
            assert (response.status, len(response.body), response.get("x-number")) == (200, 200000, str(number))
            assert response.get("x-shared") == "s" * 20 and response.get(f"x-own-{number}") == "o"


@pytest.mark.parametrize("sizes", [(0, 4096, 0), (100, 200, 65536), (4096, 0, 300)])
def test_a_client_that_changes_the_size_of_its_table(server, back, path, sizes):
    fields = {"Cache-Control": "max-age=60", **{f"X-Field-{n}": str(n) * 20 for n in range(8)}}
    back.on(path, lambda request: request.answer("x", fields=fields))
    with H2(server.port, window=1 << 20) as client:
        for size in sizes:
            client.decoder.max_allowed_table_size = max(size, client.decoder.header_table_size)
            client.send(settings((HEADER_TABLE_SIZE, size)))
            for _ in range(3):
                response = client.get(path)
                assert [response.get(f"x-field-{n}") for n in range(8)] == [str(n) * 20 for n in range(8)]
            assert client.decoder.header_table_size <= min(size, 4096)
