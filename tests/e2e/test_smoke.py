"""The whole shape: a miss, then a hit."""


def test_a_stored_response_is_served_again_without_the_origin(outrigger, origin):
    origin.on("/page", b"hello")
    first, second = outrigger.get("/page"), outrigger.get("/page")
    assert (first.status, first.body) == (200, b"hello")
    assert (second.status, second.body) == (200, b"hello")
    assert origin.count("/page") == 1
    assert "hit" in second.get("cache-status") and "fwd=uri-miss" in first.get("cache-status")
