"""Large responses in slices: what is asked for is fetched, once, and belongs together."""
import threading

import pytest

from harness.http import Truncated
from harness.origin import CloseConnection
from harness.outrigger import SLOW, Outrigger
from harness.poll import until

SLICE = 65536
LARGE = b"".join(b"%015d\n" % n for n in range(62500))  # a million bytes: 16 slices, the last one short
SIZE = len(LARGE)
MODIFIED, LATER = "Tue, 01 Jul 2025 10:00:00 GMT", "Tue, 01 Jul 2025 11:00:00 GMT"
FRESH = {"Cache-Control": "max-age=60", "ETag": '"v1"', "Content-Type": "x/y"}
STALE = {**FRESH, "Age": "100"}


class Ranger:
    """An origin's handler that knows ranges. `asked` has the Range of each request, None where there was none."""

    def __init__(self, body=LARGE, fields=FRESH):
        self.body, self.fields, self.asked, self.requests = body, fields, [], []
        self.gate = None

    def __call__(self, request):
        value = request.get("range")
        self.asked.append(value)
        self.requests.append(request)
        if self.gate:
            assert self.gate.wait(20 * SLOW)
        etag = self.fields.get("ETag")
        if etag and request.get("if-none-match") == etag:
            request.answer(b"", "304 Not Modified", self.fields, length=False)
        elif request.get("if-match") not in (None, etag):
            request.answer(b"", "412 Precondition Failed")
        elif value is None:
            request.answer(self.body, fields=self.fields)
        else:
            first, last = (int(text) for text in value.removeprefix("bytes=").split("-"))
            if first >= len(self.body):
                request.answer(b"", "416 Range Not Satisfiable", {"Content-Range": f"bytes */{len(self.body)}"})
            else:
                part = self.body[first : last + 1]
                request.answer(part, "206 Partial Content", {**self.fields, "Content-Range": f"bytes {first}-{first + len(part) - 1}/{len(self.body)}"})


def slices(*numbers):
    return [f"bytes={n * SLICE}-{(n + 1) * SLICE - 1}" for n in numbers]


@pytest.fixture(scope="module")
def proxy(back, tmp_path_factory):
    outrigger = Outrigger(tmp_path_factory.mktemp("slices"), origin=back.url, site={"cache": {"slice": "64KiB"}})
    process = outrigger.children("proxy")
    yield outrigger
    survivors = outrigger.children("proxy")
    outrigger.stop()
    assert survivors == process, outrigger.output_text() + outrigger.errors()


@pytest.fixture
def ranger(back, path):
    ranger = Ranger()
    back.on(path, ranger)
    return ranger


def check(answer, first, last, body=LARGE):
    assert answer.status == 206 and answer.complete, answer
    assert answer.get("content-range") == f"bytes {first}-{last}/{len(body)}" and answer.get("content-length") == str(last - first + 1)
    assert answer.body == body[first : last + 1]


def ask(proxy, path, first, last, body=LARGE, **fields):
    answer = proxy.get(path, fields={"Range": f"bytes={first}-{last}", **fields})
    check(answer, first, last, body)
    return answer


def hits(*arguments):
    """A slice that still arrives is waited for; then it is a hit like others."""
    until(lambda: "hit" in ask(*arguments).get("cache-status"), what="a hit")


def test_one_byte_costs_one_slice_once(proxy, path, ranger):
    first = ask(proxy, path, 500000, 500000)
    assert first.get("cache-status") == "outrigger; fwd=uri-miss; fwd-status=206; stored" and first.get("etag") == '"v1"'
    for _ in range(3):
        hits(proxy, path, 500000, 500000)
    ask(proxy, path, 7 * SLICE, 8 * SLICE - 1)
    assert ranger.asked == slices(7)


@pytest.mark.parametrize("first, last, numbers", [(0, 0, [0]), (65535, 65536, [0, 1]), (0, 200000, [0, 1, 2, 3]), (SIZE - 1, SIZE - 1, [15]), (3 * SLICE, 5 * SLICE - 1, [3, 4]), (0, SIZE - 1, list(range(16)))])
def test_a_range_takes_the_slices_that_it_touches(proxy, path, ranger, first, last, numbers):
    ask(proxy, path, first, last)
    ask(proxy, path, first, last)
    assert sorted(ranger.asked) == sorted(slices(*numbers))


def test_a_digest_of_a_slice_is_not_that_of_the_whole(proxy, path, ranger):
    ranger.fields = {**FRESH, "Content-Digest": "sha-256=:part=:", "Content-MD5": "part==", "Repr-Digest": "sha-256=:all=:"}
    for first, last in ((0, 9), (5, 2 * SLICE)):
        answer = ask(proxy, path, first, last)
        assert (answer.get("content-digest"), answer.get("content-md5"), answer.get("repr-digest")) == (None, None, "sha-256=:all=:")


def test_missing_slices_are_added(proxy, path, ranger):
    ask(proxy, path, 2 * SLICE, 2 * SLICE)
    middle = ask(proxy, path, SLICE + 5, 4 * SLICE - 7)
    assert middle.get("cache-status") == "outrigger; fwd=partial"
    hits(proxy, path, SLICE, 4 * SLICE - 1)
    assert ranger.asked == slices(2, 1, 3)
    further = [r for r in ranger.requests[1:]]
    assert [r.get("if-match") for r in further] == ['"v1"', '"v1"'] and all(r.get("if-range") is None for r in further)


def test_the_whole_is_put_together_from_slices(proxy, path, ranger):
    ask(proxy, path, 300000, 300000)
    whole = proxy.get(path)
    assert (whole.status, whole.reason, whole.body) == (200, "OK", LARGE) and whole.get("content-range") is None
    assert whole.get("content-length") == str(SIZE) and whole.get("content-type") == "x/y"
    assert proxy.get(path).body == LARGE
    assert sorted(ranger.asked) == sorted(slices(*range(16)))
    head = proxy.get(path, method="HEAD")
    assert (head.status, head.get("content-length")) == (200, str(SIZE))


def test_a_suffix_and_an_open_range(proxy, path, ranger):
    answer = proxy.get(path, fields={"Range": "bytes=-10"})
    check(answer, SIZE - 10, SIZE - 1)
    answer = proxy.get(path, fields={"Range": f"bytes={SIZE - 70000}-"})
    check(answer, SIZE - 70000, SIZE - 1)
    assert ranger.asked == slices(0, 15, 14)


def test_several_ranges(proxy, path, ranger):
    answer = proxy.get(path, fields={"Range": f"bytes=900000-900009,0-9,{SLICE - 5}-{SLICE + 4}"})
    assert answer.status == 206 and answer.get("content-type").startswith("multipart/byteranges; boundary=")
    assert answer.complete and answer.get("content-length") == str(len(answer.body))
    places = [answer.body.index(LARGE[first : first + 10]) for first in (900000, 0, SLICE - 5)]
    assert places == sorted(places) and answer.body.count(b"Content-Range") == 3
    assert ranger.asked == slices(13, 0, 1)


def test_beyond_the_end(proxy, path, ranger):
    answer = proxy.get(path, fields={"Range": f"bytes={SIZE + SLICE}-"})
    assert (answer.status, answer.get("content-range")) == (416, f"bytes */{SIZE}")
    answer = proxy.get(path, fields={"Range": f"bytes={SIZE}-"})  # in the last slice
    assert (answer.status, answer.get("content-range")) == (416, f"bytes */{SIZE}")
    assert ranger.asked == slices(16, 15)


def test_beyond_the_end_with_if_range_or_other_ranges_gets_what_is_due(proxy, path, ranger):
    far = f"bytes={SIZE + SLICE}-"
    answer = proxy.get(path, fields={"Range": far, "If-Range": '"v0"'})
    assert (answer.status, answer.body) == (200, LARGE)
    assert ranger.asked == [*slices(16), None]


def test_beyond_the_end_and_another_range(proxy, path, ranger):
    check(proxy.get(path, fields={"Range": f"bytes={SIZE + SLICE}-,5-9"}), 5, 9)


def test_conditions_are_answered_from_the_head(proxy, path, ranger):
    ask(proxy, path, 0, 9)
    assert proxy.get(path, fields={"If-None-Match": '"v1"'}).status == 304
    assert proxy.get(path, fields={"Range": "bytes=0-9", "If-None-Match": '"v1"'}).status == 304
    ask(proxy, path, 0, 9, **{"If-Range": '"v1"'})
    assert len(ranger.asked) == 1
    assert proxy.get(path, fields={"Range": "bytes=0-9", "If-Range": '"v0"'}).body == LARGE


def test_if_range_on_a_miss(proxy, path, ranger):
    ask(proxy, path, 70000, 70009, **{"If-Range": '"v1"'})
    assert ranger.asked == slices(1) and ranger.requests[0].get("if-range") is None


def test_what_fits_in_a_slice_is_stored_whole(proxy, back, path):
    ranger = Ranger(LARGE[:SLICE], {"Cache-Control": "max-age=60"})  # without a validator
    back.on(path, ranger)
    ask(proxy, path, 5, 9, LARGE[:SLICE])
    hits(proxy, path, 5, 9, LARGE[:SLICE])
    whole = proxy.get(path)
    assert whole.body == LARGE[:SLICE] and "hit" in whole.get("cache-status") and whole.get("content-range") is None
    assert ranger.asked == slices(0)


def test_an_origin_that_ignores_ranges_fills_the_whole(proxy, back, path):
    back.on(path, lambda request: request.answer(LARGE, fields=FRESH))
    ask(proxy, path, 5, 9)
    ask(proxy, path, 900000, 900009)
    assert proxy.get(path).body == LARGE and back.count(path) == 1


UNUSABLE = {
    "no validator": {"Cache-Control": "max-age=60"},
    "a weak validator": {"Cache-Control": "max-age=60", "ETag": 'W/"v1"'},
    "a date by an unknown clock": {"Cache-Control": "max-age=60", "Last-Modified": MODIFIED},
    "a date in the second of the change": {"Cache-Control": "max-age=999999999", "Last-Modified": MODIFIED, "Date": MODIFIED},
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_without_strong_validator_the_whole_is_fetched(proxy, back, path, name):
    ranger = Ranger(fields=UNUSABLE[name])
    back.on(path, ranger)
    ask(proxy, path, 500000, 500009)
    ask(proxy, path, 0, 9)
    assert proxy.get(path).body == LARGE
    assert ranger.asked == [*slices(7), None]


def test_a_date_can_be_the_validator(proxy, back, path):
    ranger = Ranger(fields={"Cache-Control": "max-age=999999999", "Last-Modified": MODIFIED, "Date": LATER})
    back.on(path, ranger)
    ask(proxy, path, SLICE - 10, SLICE + 10)
    assert ranger.asked == slices(0, 1) and ranger.requests[1].get("if-unmodified-since") == MODIFIED


@pytest.mark.parametrize("content_range", ["bytes 0-99/1000000", "bytes 0-65535/*", "bytes 65535-0/1000000", "bytes 1-65536/1000000", "bytes 0-65535", "lines 0-65535/1000000",
                                           "bytes 0-65535/18446744073709551615", None])
def test_a_206_that_says_something_else_is_not_used(proxy, back, path, content_range):
    def answer(request):
        if request.get("range"):
            fields = {**FRESH, "Content-Range": content_range} if content_range else FRESH
            request.answer(LARGE[:SLICE], "206 Partial Content", fields)
        else:
            request.answer(LARGE, fields=FRESH)

    back.on(path, answer)
    ask(proxy, path, 5, 9)
    ask(proxy, path, 70000, 70009)
    assert back.count(path) == 2


def test_what_must_not_be_stored_is_passed_with_the_clients_range(proxy, back, path):
    ranger = Ranger(fields={**FRESH, "Cache-Control": "no-store"})
    back.on(path, ranger)
    assert ask(proxy, path, 500000, 500009).get("cache-status").endswith("detail=no-store")
    ask(proxy, path, 500000, 500009)
    assert ranger.asked == [*slices(7), "bytes=500000-500009", "bytes=500000-500009"]


# ---- read ahead ----


def begin(proxy, path, text="0-"):
    """A client that asks for a range, and reads its head; more when it wants to."""
    client = proxy.connect(timeout=30 * SLOW)
    client.send(f"GET {path} HTTP/1.1\r\nHost: site.test\r\nRange: bytes={text}\r\n\r\n")
    return client, client.head()


class Gated(Ranger):
    """Lets slices 0 to `first` - 1 pass, and holds the others."""

    def __init__(self, first, **options):
        super().__init__(**options)
        self.first, self.opened = first, threading.Event()

    def __call__(self, request):
        if int(request.get("range").removeprefix("bytes=").split("-")[0]) >= self.first * SLICE:
            self.gate = self.opened
        super().__call__(request)


def ended(proxy, path):
    until(lambda: any(path in line for line in proxy.access_lines()), what="the request's end")


def test_one_slice_is_read_ahead_and_no_more(proxy, back, path):
    ranger = Gated(1)
    back.on(path, ranger)
    client, head = begin(proxy, path)
    assert head.status == 206 and client.read_exactly(SLICE) == LARGE[:SLICE]
    until(lambda: len(ranger.asked) >= 3, what="the slice that is due, and the one behind it")
    ask(proxy, path, 5, 9)  # whatever else was to be asked for has been by now
    assert sorted(ranger.asked) == sorted(slices(0, 1, 2))
    ranger.opened.set()
    assert client.read_exactly(SIZE - SLICE) == LARGE[SLICE:]
    client.close()
    assert sorted(ranger.asked) == sorted(slices(*range(16)))


@pytest.mark.parametrize("first, last", [(0, 0), (0, SLICE - 1), (SLICE - 1, SLICE - 1), (3 * SLICE + 7, 4 * SLICE - 1), (SIZE - 1, SIZE - 1)])
def test_nothing_is_read_ahead_of_what_was_asked_for(proxy, path, ranger, first, last):
    ask(proxy, path, first, last)
    hits(proxy, path, first, last)
    ended(proxy, path)
    assert ranger.asked == slices(first // SLICE)


def test_what_was_read_ahead_for_a_client_that_leaves_is_cancelled(proxy, back, path):
    ranger = Gated(1)
    back.on(path, ranger)
    client, _ = begin(proxy, path)
    assert client.read_exactly(SLICE) == LARGE[:SLICE]
    until(lambda: len(ranger.asked) >= 3, what="the slice that is due, and the one behind it")
    client.reset()
    ended(proxy, path)
    ranger.opened.set()
    hits(proxy, path, SLICE, SLICE)
    assert sorted(ranger.asked) == sorted(slices(0, 1, 2)), "that it was about to get is stored"
    ask(proxy, path, 2 * SLICE, 2 * SLICE)
    assert sorted(ranger.asked) == sorted(slices(0, 1, 2, 2)), "that behind it is not"


def test_what_was_read_ahead_stays_for_others_who_read_it(proxy, back, path):
    ranger = Gated(1)
    back.on(path, ranger)
    client, _ = begin(proxy, path)
    assert client.read_exactly(SLICE) == LARGE[:SLICE]
    until(lambda: len(ranger.asked) >= 3, what="the slice that is due, and the one behind it")
    other, _ = begin(proxy, path, f"5-{3 * SLICE}")
    assert other.read_exactly(SLICE - 5) == LARGE[5:SLICE]
    client.reset()
    ended(proxy, path)
    ranger.opened.set()
    assert other.read_exactly(2 * SLICE + 1) == LARGE[SLICE : 3 * SLICE + 1]
    other.close()


def test_a_slice_that_could_not_be_read_ahead_is_asked_for_again(proxy, back, path):
    ranger, refused = Ranger(), threading.Event()

    def answer(request):
        if request.get("range") == slices(0)[0]:
            head = "".join(f"{name}: {value}\r\n" for name, value in FRESH.items())
            request.send(f"HTTP/1.1 206 P\r\n{head}Content-Range: bytes 0-{SLICE - 1}/{SIZE}\r\nContent-Length: {SLICE}\r\n\r\n".encode() + LARGE[:5000])
            assert refused.wait(20 * SLOW)
            request.send(LARGE[5000:SLICE])
        elif not refused.is_set():
            failures = proxy.metric("outrigger_origin_failures_total")
            request.answer(b"", "503 Service Unavailable")
            until(lambda: proxy.metric("outrigger_origin_failures_total") > failures, what="the failure")
            refused.set()
        else:
            ranger(request)

    back.on(path, answer)
    answer = proxy.get(path, fields={"Range": f"bytes=0-{5 * SLICE}"})
    assert answer.complete and answer.body == LARGE[: 5 * SLICE + 1]
    assert sorted(ranger.asked) == sorted(slices(1, 2, 3, 4, 5))


# ---- changes ----

def test_a_stale_head_is_validated_and_its_slices_stay(proxy, back, path):
    ranger = Ranger(fields=STALE)
    back.on(path, ranger)
    ask(proxy, path, 0, 100000)
    proxy.await_metric(0, "outrigger_cache_fills")  # what is not complete when the head is refreshed is not kept
    ranger.fields = FRESH
    answer = ask(proxy, path, 0, 100000)
    assert "fwd=stale; fwd-status=304; stored" in answer.get("cache-status") and ranger.requests[-1].get("if-none-match") == '"v1"'
    hits(proxy, path, 0, 100000)
    assert ranger.asked == slices(0, 1, 0)


def test_a_stale_head_that_changed_begins_a_new_set(proxy, back, path):
    ranger = Ranger(fields=STALE)
    back.on(path, ranger)
    ask(proxy, path, 0, 100000)
    ranger.body, ranger.fields = LARGE[::-1], {**FRESH, "ETag": '"v2"'}
    ask(proxy, path, 0, 100000, ranger.body)
    assert ask(proxy, path, 0, 100000, ranger.body).get("etag") == '"v2"'
    assert ranger.asked == slices(0, 1, 0, 1)


def test_a_change_found_before_the_first_byte_is_not_seen_by_the_client(proxy, path, ranger):
    ask(proxy, path, 0, 9)
    ranger.body, ranger.fields = LARGE[::-1], {**FRESH, "ETag": '"v2"'}
    answer = ask(proxy, path, 500000, 500009, ranger.body)
    assert answer.get("etag") == '"v2"'
    ask(proxy, path, 0, 9, ranger.body)
    assert ranger.asked == slices(0, 7, 7, 0)


def test_several_ranges_and_a_change(proxy, path, ranger):
    ask(proxy, path, 0, 9)
    ranger.body, ranger.fields = LARGE[::-1], {**FRESH, "ETag": '"v2"'}
    answer = proxy.get(path, fields={"Range": "bytes=500000-500009,900000-900009"})
    assert answer.status == 206 and answer.complete and answer.get("etag") == '"v2"' and ranger.body[500000:500010] in answer.body


def test_a_change_found_later_breaks_the_response_off(proxy, path, ranger):
    ask(proxy, path, 0, 9)
    ranger.body, ranger.fields = LARGE[::-1], {**FRESH, "ETag": '"v2"'}
    answer = proxy.get(path)
    assert not answer.complete and answer.body == LARGE[:SLICE]
    answer = proxy.get(path)
    assert answer.complete and answer.body == ranger.body


def test_a_slice_that_must_not_be_stored_ends_the_set(proxy, path, ranger):
    ask(proxy, path, 0, 9)
    ranger.fields = {**FRESH, "Cache-Control": "private"}
    assert ask(proxy, path, 500000, 500009).get("cache-status").endswith("detail=private")
    assert "hit" not in ask(proxy, path, 0, 9).get("cache-status").replace("hit-for-miss", "")


@pytest.mark.parametrize("change", ["an entity tag", "a length", "the status"])
def test_an_origin_that_ignores_preconditions(proxy, back, path, change):
    later = {"an entity tag": (LARGE, {**FRESH, "ETag": '"v2"'}), "a length": (LARGE + b"!", FRESH), "the status": (LARGE[::-1], FRESH)}

    def answer(request):
        first, last = (int(text) for text in request.get("range", "bytes=0-999999").removeprefix("bytes=").split("-"))
        body, fields = later[change] if back.count(path) > 1 else (LARGE, FRESH)
        if back.count(path) > 1 and change == "the status":
            request.answer(body, fields=fields)
            return
        part = body[first : last + 1]
        request.answer(part, "206 Partial Content", {**fields, "Content-Range": f"bytes {first}-{first + len(part) - 1}/{len(body)}"})

    back.on(path, answer)
    ask(proxy, path, 0, 9)
    ask(proxy, path, 500000, 500009, later[change][0])
    ask(proxy, path, 0, 9, later[change][0])


def test_an_error_is_passed_on_and_leaves_the_set_alone(proxy, back, path):
    ranger, errors = Ranger(), []
    back.on(path, ranger)
    ask(proxy, path, 0, 9)

    def fail(request):
        errors.append(request)
        request.answer(b"busy", "503 Service Unavailable", {"Retry-After": "7"})

    back.on(path, fail)
    for asked in ("bytes=500000-500009", "bytes=500000-500009,700000-700009"):
        answer = proxy.get(path, fields={"Range": asked, "If-Range": '"v1"'})
        assert (answer.status, answer.body, answer.get("retry-after")) == (503, b"busy", "7") and "fwd-status=503" in answer.get("cache-status")
        assert [(e.get("range"), e.get("if-range")) for e in errors[-2:]] == [(*slices(7), None), (asked, '"v1"')], "the client's own request, once"
    assert len(errors) == 4
    back.on(path, ranger)
    hits(proxy, path, 0, 9)
    ask(proxy, path, 500000, 500009)
    assert ranger.asked == slices(0, 7)


def test_an_error_that_is_over_when_the_client_is_asked_for(proxy, back, path):
    ranger = Ranger()
    back.on(path, ranger)
    ask(proxy, path, 0, 9)
    back.on(path, lambda request: (back.on(path, ranger), request.answer(b"", "500 Internal Server Error")))
    ask(proxy, path, 500000, 500009)
    assert ranger.asked == [*slices(0), "bytes=500000-500009"]


def flaky(ranger, first, times, answer):
    """Fails the slice at `first` that many times."""
    left = [times]

    def handler(request):
        if left[0] and f"bytes={first}-" in request.get("range", ""):
            left[0] -= 1
            answer(request)
        else:
            ranger(request)

    return handler


def truncate(request):
    first = int(request.get("range").removeprefix("bytes=").split("-")[0])
    request.send(f"HTTP/1.1 206 Partial Content\r\nETag: \"v1\"\r\nCache-Control: max-age=60\r\nContent-Length: {SLICE}\r\nContent-Range: bytes {first}-{first + SLICE - 1}/{SIZE}\r\n\r\n".encode() + LARGE[first : first + 1000])
    raise CloseConnection


@pytest.mark.parametrize("answer", [lambda request: request.answer(b"", "503 Service Unavailable"), truncate], ids=["an error", "a truncated body"])
def test_a_slice_that_fails_underway_is_asked_for_once_more(proxy, back, path, ranger, answer):
    back.on(path, flaky(ranger, 2 * SLICE, 1, answer))
    ask(proxy, path, 0, 4 * SLICE - 1)
    hits(proxy, path, 0, 4 * SLICE - 1)
    back.on(path, flaky(ranger, 6 * SLICE, 3, answer))  # read ahead, when its turn comes, and once more
    broken = proxy.get(path, fields={"Range": f"bytes={5 * SLICE}-{7 * SLICE - 1}"})
    assert broken.status == 206 and not broken.complete and LARGE[5 * SLICE :].startswith(broken.body) and len(broken.body) >= SLICE
    ask(proxy, path, 5 * SLICE, 7 * SLICE - 1)
    assert sorted(ranger.asked) == sorted(slices(0, 1, 2, 3, 5, 6))


def test_a_crowd_and_a_slice_that_fails(proxy, back, path, ranger):
    """Nobody gets a wrong byte, and nobody waits for ever; the origin sees a request or two at a time."""
    ask(proxy, path, 0, 9)
    gate, at_once, most = threading.Event(), [0], [0]

    def fail(request):
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        gate.wait(20 * SLOW)
        at_once[0] -= 1
        request.answer(b"", "503 Service Unavailable")

    back.on(path, fail)
    head = f"GET {path} HTTP/1.1\r\nHost: site.test\r\nRange: bytes=500000-500009\r\nConnection: close\r\n\r\n"
    clients = [proxy.connect(timeout=30 * SLOW).send(head) for _ in range(30)]
    gate.set()
    answers = [client.response() for client in clients]
    assert {answer.status for answer in answers} <= {502, 503} and most[0] <= 6
    back.on(path, ranger)
    ask(proxy, path, 500000, 500009)


def test_only_if_cached_fetches_no_slice(make_outrigger, origin):
    ranger = Ranger()
    origin.on("/large", ranger)
    outrigger = make_outrigger(origin=origin.url, site={"cache": {"slice": "64KiB", "honour_request_directives": True}})
    only = {"Cache-Control": "only-if-cached"}
    assert outrigger.get("/large", fields={"Range": "bytes=0-9", **only}).status == 504
    ask(outrigger, "/large", 0, 9)
    hits(outrigger, "/large", 0, 9)
    ask(outrigger, "/large", 9, 65535, **only)
    for wanted in ("bytes=65536-65536", "bytes=0-65536", "bytes=0-9,70000-70009", "bytes=-1", "bytes=100-", None):
        answer = outrigger.get("/large", fields={**({"Range": wanted} if wanted else {}), **only})
        assert answer.status == 504 and answer.get("cache-status") == "outrigger; detail=only-if-cached", wanted
    assert outrigger.get("/large", fields={"If-None-Match": '"v1"', **only}).status == 304 and outrigger.get("/large", method="HEAD", fields=only).status == 200
    assert outrigger.get("/large", fields={"Range": "bytes=20-29,0-9", **only}).status == 206
    assert ranger.asked == slices(0)


def test_only_if_cached_means_nothing_where_clients_may_not_ask_for_it(proxy, path, ranger):
    ask(proxy, path, 0, 9)
    ask(proxy, path, 0, 70000, **{"Cache-Control": "only-if-cached"})
    assert ranger.asked == slices(0, 1)


def test_a_purge_takes_the_slices_with_it(proxy, path, ranger):
    ask(proxy, path, 0, 9)
    ranger.body = LARGE[::-1]  # under the same entity tag
    assert proxy.get(path, method="PURGE").status == 200
    ask(proxy, path, 0, 9, ranger.body)
    assert ranger.asked == slices(0, 0)


def test_a_purge_by_tag_takes_the_slices_with_it(proxy, back, path):
    ranger = Ranger(fields={**FRESH, "Surrogate-Key": path})
    back.on(path, ranger)
    for tag in (path, "*"):
        ask(proxy, path, 0, 70000, ranger.body)
        ranger.body = ranger.body[::-1]  # under the same entity tag
        proxy.ctl("purge", "--all") if tag == "*" else proxy.ctl("purge", "--tag", tag)
        ask(proxy, path, 0, 70000, ranger.body)
    assert ranger.asked == slices(0, 1) * 3


def test_a_soft_purge_keeps_the_slices_that_are_confirmed(proxy, back, path):
    ranger = Ranger(fields={**FRESH, "Surrogate-Key": path})
    back.on(path, ranger)
    ask(proxy, path, 0, 70000)
    proxy.await_metric(0, "outrigger_cache_fills")
    proxy.ctl("purge", "--soft", "--tag", path)
    assert "fwd-status=304" in ask(proxy, path, 0, 70000).get("cache-status")
    hits(proxy, path, 0, 70000)
    assert ranger.asked == slices(0, 1, 0)


def test_variants_have_slices_of_their_own(proxy, back, path):
    def answer(request):
        body = LARGE if request.get("accept-language") == "en" else LARGE[::-1]
        Ranger(body, {**FRESH, "ETag": f'"{request.get("accept-language")}"', "Vary": "Accept-Language"})(request)

    back.on(path, answer)
    for _ in range(2):
        ask(proxy, path, 65530, 65540, **{"Accept-Language": "en"})
        ask(proxy, path, 65530, 65540, LARGE[::-1], **{"Accept-Language": "de"})
    assert back.count(path) == 4


# ---- many at once ----

def test_a_crowd_shares_slices(proxy, path, ranger):
    ranger.gate = threading.Event()
    head = f"GET {path} HTTP/1.1\r\nHost: site.test\r\nRange: bytes={{}}-{{}}\r\nConnection: close\r\n\r\n"
    clients = [proxy.connect(timeout=30 * SLOW).send(head.format(500000 + n, 600000 + n)) for n in range(40)]
    ranger.gate.set()
    for n, client in enumerate(clients):
        check(client.response(), 500000 + n, 600000 + n)
        client.close()
    assert sorted(ranger.asked) == sorted(slices(7, 8, 9))


def test_a_client_that_leaves_does_not_take_the_slice_with_it(proxy, path, ranger):
    ranger.gate = threading.Event()
    with proxy.connect() as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: site.test\r\nRange: bytes=0-9\r\n\r\n")
        until(lambda: ranger.asked, what="a request at the origin")
    ranger.gate.set()
    ask(proxy, path, 0, 9)
    assert ranger.asked == slices(0)


def test_slices_in_less_memory_than_they_need(make_outrigger, make_origin):
    origin, ranger = make_origin(), Ranger(LARGE * 8)
    origin.on("/large", ranger)
    outrigger = make_outrigger(origin=origin.url, config={"cache": {"memory": "4MiB"}}, site={"cache": {"slice": "64KiB"}})
    for _ in range(2):
        ask(outrigger, "/large", 5, 7999990, LARGE * 8)
    threads = [threading.Thread(target=lambda at=at: results.append(outrigger.get("/large", fields={"Range": f"bytes={at}-{at + 3000000}"}).body == (LARGE * 8)[at : at + 3000001])) for at in range(0, 4000000, 500000)]
    results = []
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * len(threads)


@pytest.mark.threads
def test_clients_that_come_and_go(make_outrigger, make_origin):
    """What one of them has had read ahead is withdrawn while others want it: each gets its own bytes, whatever the others do."""
    origin = make_origin()
    origin.on("/large", Ranger())
    outrigger = make_outrigger(origin=origin.url, config={"cache": {"memory": "4MiB"}}, site={"cache": {"slice": "64KiB"}})
    wrong = []

    def work(number):
        for turn in range(12):
            first = (number * 7 + turn) % 12 * SLICE // 2
            client, head = begin(outrigger, "/large", f"{first}-")
            wanted = (turn % 3 + 1) * SLICE - 100 if (number + turn) % 4 else SIZE - first
            try:
                if head.status != 206 or client.read_exactly(wanted) != LARGE[first : first + wanted]:
                    wrong.append((first, wanted, head))
            except Truncated as cut:
                wrong.append((first, wanted, len(cut.args[0])))
            client.reset()

    workers = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
    outrigger.await_metric(0, "outrigger_cache_fills")


def test_off(make_outrigger, origin):
    ranger = Ranger()
    origin.on("/large", ranger)
    outrigger = make_outrigger(origin=origin.url, site={"cache": {"slice": "off"}})
    ask(outrigger, "/large", 500000, 500009)
    assert ranger.asked == [None]
