"""HEAD and the stored response to GET (RFC 9110 §9.3.2, RFC 9111 §4.3.5)."""
import pytest

from harness.status import status_of

STALE = [("Cache-Control", "max-age=60"), ("Age", "100"), ("ETag", '"1"'), ("A", "1"), ("B", "1")]
SIZES = {"small": 100, "large": 300_000}


def answers(get, head, size=100, status="200 OK"):
    """GET is answered with `get`; HEAD with `head`, a Content-Length of its own among them or none."""
    def handler(request):
        if request.method == "HEAD":
            request.answer(status=status, fields=head, length=False)
        else:
            request.answer("x" * size, fields=get)
    return handler


def test_a_fresh_one_answers_head(proxy, back, path):
    back.on(path, answers([("Cache-Control", "max-age=60")], []))
    proxy.get(path)
    response = proxy.get(path, method="HEAD")
    assert "hit" in status_of(response) and response.get("content-length") == "100" and back.count(path) == 1


@pytest.mark.parametrize("size", SIZES)
def test_head_for_a_stale_one_updates_it(proxy, back, path, size):
    size = SIZES[size]
    fields = [("Cache-Control", "max-age=600"), ("ETag", '"1"'), ("A", "2"), ("Content-Length", str(size))]
    back.on(path, answers([*STALE, ("Vary", "Accept")], [*fields, ("Vary", "Accept")], size))
    proxy.get(path)
    head = proxy.get(path, method="HEAD")
    assert back.last(path).method == "HEAD" and head.status == 200 and status_of(head)["fwd"] == "stale"
    for _ in range(2):
        response = proxy.get(path)
        assert "hit" in status_of(response) and response.body == b"x" * size
        assert response.get("a") == "2" and response.get("b") == "1" and response.get("cache-control") == "max-age=600"
    assert back.count(path) == 2


NEWER = {
    "another entity tag": [("ETag", '"2"')],
    "another length": [("ETag", '"1"'), ("Content-Length", "99")],
    "a date that was not there": [("Last-Modified", "Tue, 01 Jul 2025 10:00:00 GMT")],
    "no-store": [("ETag", '"1"'), ("Cache-Control", "no-store")],
    "another Vary": [("ETag", '"1"'), ("Vary", "Accept")],
}


@pytest.mark.parametrize("name", NEWER)
def test_head_for_a_stale_one_takes_it_away(proxy, back, path, name):
    back.on(path, answers(STALE, NEWER[name]))
    proxy.get(path)
    proxy.get(path, method="HEAD")
    response = proxy.get(path)
    assert status_of(response)["fwd"] in ("uri-miss", "vary-miss")
    assert back.last(path).get("if-none-match") is None and back.count(path) == 3


@pytest.mark.parametrize("status", ["404 Not Found", "410 Gone", "302 Found"])
def test_another_answer_to_head_says_nothing(proxy, back, path, status):
    back.on(path, answers(STALE, [("ETag", '"2"'), ("Cache-Control", "max-age=600")], status=status))
    proxy.get(path)
    assert proxy.get(path, method="HEAD").status == int(status[:3])
    assert status_of(proxy.get(path))["fwd"] == "stale"
    assert back.last(path).get("if-none-match") == '"1"'


def test_the_clients_own_condition_is_its_own(proxy, back, path):
    """A 304 to a HEAD with the client's validator goes to that client, and touches nothing that is stored."""
    back.on(path, answers(STALE, [("ETag", '"9"')], status="304 Not Modified"))
    proxy.get(path)
    assert proxy.get(path, method="HEAD", fields={"If-None-Match": '"9"'}).status == 304
    assert back.last(path).get("if-none-match") == '"9"'
    assert status_of(proxy.get(path))["fwd"] == "stale"


def test_head_gets_the_stale_one_while_the_origin_is_in_trouble(make_outrigger, back, path):
    outrigger = make_outrigger(origin=back.url, site={"cache": {"grace": "300s"}})
    back.on(path, answers(STALE, [], status="503 Service Unavailable"))
    outrigger.get(path)
    response = outrigger.get(path, method="HEAD")
    assert response.status == 200 and response.get("content-length") == "100" and status_of(response)["detail"] == "stale-if-error"
