"""Responses whose heads, with what they would be found by (URL, Vary), are larger than what is stored of one: they are passed on."""
import threading

import pytest

from harness.crowd import Crowd
from harness.h2 import H2, serve_http2
from harness.poll import until
from harness.status import status_of

HEADS = {  # what a response of a URL, and a request for it, have besides: and why the response is not stored
    "by its URL": ("?" + 7000 * "q", {"X-Line": "x" * 60000}, {}, "head-too-large"),
    "by what Vary names": ("", {"X-Line": "x" * 55000, "Vary": "X-Long"}, {"X-Long": "y" * 15000}, "vary-too-large"),
}


def answer(fields, control="max-age=60"):
    return lambda request: request.answer(b"body", fields={"Cache-Control": control, **fields})


@pytest.fixture(scope="module")
def server(back, make_module_outrigger):
    return serve_http2(make_module_outrigger, origin=back.url, config={"limits": {"header_bytes": "64KiB"}})


def ask(server, protocol, path, method, fields):
    if protocol == "HTTP/1.1":
        return server.get(path, method=method, host="site.test", fields=fields)
    with H2(server.port, window=1 << 20) as client:
        return client.get(path, method=method, fields=[(name.lower(), value) for name, value in fields.items()])


@pytest.mark.parametrize("protocol", ["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize("what", HEADS)
def test_a_response_that_cannot_be_stored_is_passed_on(server, back, path, protocol, what):
    query, given, asked, word = HEADS[what]
    back.on(path, answer(given))
    for method, reason in [("GET", word), ("GET", word), ("HEAD", "head-miss")]:
        response = ask(server, protocol, path + query, method, asked)
        assert (response.status, response.body) == (200, b"body" if method == "GET" else b""), method
        assert response.get("x-line") == given["X-Line"]
        assert status_of(response)["detail"] == reason and "stored" not in status_of(response)
    assert back.count(path + query) == 3


def test_others_are_stored_beside_one_with_long_fields(server, back, path):
    _, given, asked, word = HEADS["by what Vary names"]
    back.on(path, answer(given))
    details = [status_of(server.get(path, host="site.test", fields=fields)) for fields in (asked, {}, asked, {})]
    assert [detail.get("detail", "") for detail in details] == [word, "", word, ""]
    assert details[1]["stored"] and "hit" in details[3]


@pytest.mark.threads
@pytest.mark.parametrize("what", HEADS)
def test_who_waits_for_it_gets_one_too(server, back, path, what):
    query, given, asked, _ = HEADS[what]
    gate = threading.Event()
    back.on(path, lambda request: (gate.wait(60), answer(given)(request)))
    before = server.metric("outrigger_collapsed_requests_total")
    lines = "".join(f"{name}: {value}\r\n" for name, value in asked.items())
    with Crowd(server.port, 10, f"GET {path}{query} HTTP/1.1\r\nHost: site.test\r\n{lines}\r\n".encode()).send() as crowd:
        until(lambda: server.metric("outrigger_collapsed_requests_total") == before + 9, what="all to wait for one fetch")
        gate.set()
        crowd.until(lambda member: len(member.body) == 4)
        assert all(member.status == 200 and member.body == b"body" for member in crowd.members)


def test_a_background_update_that_outgrows_the_cache_ends_what_was_stored(server, back, path):
    """Else it would be asked for again with each request, in vain, and be served all the same."""
    query, given, _, word = HEADS["by its URL"]
    back.on(path, answer({"Age": "100"}, "max-age=60, stale-while-revalidate=1000"))
    assert status_of(server.get(path + query, host="site.test"))["stored"]
    back.on(path, answer(given))
    assert "hit" in status_of(server.get(path + query, host="site.test"))
    until(lambda: back.count(path + query) == 2, what="the update")
    until(lambda: status_of(server.get(path + query, host="site.test"))["detail"] == word, what="what the origin says now")


@pytest.mark.parametrize("protocol", ["HTTP/1.1", "HTTP/2"])
def test_a_head_over_the_limit_is_502(server, back, path, protocol):
    back.on(path, answer({"X-Line": "x" * 70000}))
    assert ask(server, protocol, path, "GET", {}).status == 502
    until(lambda: "origin's response header too large" in server.errors(), what="the error log's line")
