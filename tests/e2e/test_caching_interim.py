"""Interim responses (RFC 9110 §15.2): sent on while a response is fetched, never stored and never replayed."""
import pytest

from harness.status import status_of

INTERIM = {
    "102": ([102], b"HTTP/1.1 102 Processing\r\n\r\n"),
    "103": ([103], b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"),
    "several": ([103, 102, 103], b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n"),
    "one that looks cacheable": ([103], b"HTTP/1.1 103 Early Hints\r\nCache-Control: max-age=600\r\nETag: \"hint\"\r\n\r\n"),
}


def ask(client, path):
    client.send(f"GET {path} HTTP/1.1\r\nHost: site.test\r\n\r\n")
    interim = []
    return client.response(interim=interim), interim


@pytest.mark.parametrize("name", INTERIM)
def test_forwarded_on_a_miss_and_never_on_a_hit(proxy, back, path, name):
    statuses, head = INTERIM[name]
    back.on(path, lambda request: (request.send(head), request.answer("page", fields={"Cache-Control": "max-age=60"})))
    with proxy.connect() as client:
        response, interim = ask(client, path)
        assert [i.status for i in interim] == statuses and response.body == b"page"
        for _ in range(2):
            response, interim = ask(client, path)
            assert interim == [] and "hit" in status_of(response) and response.body == b"page"
            assert response.get("link") is None and response.get("etag") is None
    assert back.count(path) == 1


def test_forwarded_again_when_it_is_validated(proxy, back, path):
    def handler(request):
        request.send(INTERIM["103"][1])
        if request.get("if-none-match"):
            request.answer(status="304 Not Modified", fields={"ETag": '"1"', "Age": "0"}, length=False)
        else:
            request.answer("page", fields={"Cache-Control": "max-age=60", "Age": "100", "ETag": '"1"'})

    back.on(path, handler)
    with proxy.connect() as client:
        for expected in (1, 1, 0):
            response, interim = ask(client, path)
            assert len(interim) == expected and response.body == b"page"
