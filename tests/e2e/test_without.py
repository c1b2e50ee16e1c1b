"""`without`: a cache switched off costs time, and changes nothing that a client sees."""
from email.utils import formatdate

import pytest
from harness.load import Load
from harness.outrigger import SLOW
from harness.poll import until
from harness.status import status_of
from harness.store import await_written, with_store
from test_store import body_of

READS = {"nothing": 0, "index": 2, "header": 0, "pages": 1, "all": 3}  # of the disk for a hit, at least
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
FIELDS = {"Cache-Control": "max-age=3600", "Date": formatdate(usegmt=True), "Last-Modified": DATE, "Expires": "0", "x-odd": "a, b;c=\"d\"", "X-Empty": ""}
SIZES = [0, 100, 5000, 17000, 66000, 200000]
OF_THIS_MOMENT = ("age", "via", "cache-status")


def described(request):
    """/<n>/<size>: one with a validator, and two field lines of one name; /vary/<size>: by language."""
    _, n, size = request.target.split("/")
    if n == "vary":
        language = request.get("Accept-Language", "none")
        return request.answer(body_of(language, int(size)), fields={**FIELDS, "Vary": "Accept-Language", "X-Language": language})
    fields = [*FIELDS.items(), ("ETag", f'"{n}-{size}"'), ("Link", "</a>"), ("Link", "</b>"), ("X-Number", n)]
    request.answer(body_of(n, int(size)), fields=fields)


@pytest.fixture
def server(make_outrigger, origin, tmp_path):
    """With so much on disk that segments are sealed."""

    def answer(request):
        if not request.target.startswith("/changes"):
            described(request)
        elif request.get("If-None-Match") == '"1"':
            request.answer(status="304 Not Modified", length=False, fields={"Cache-Control": "max-age=3600"})
        else:
            request.answer(b"it", fields={"Cache-Control": "max-age=3600", "ETag": '"1"'})

    def make(without):
        outrigger = with_store(make_outrigger, origin, tmp_path / f"store-{without}", "16MiB", config={"without": without, "workers": 2})
        targets = [*PLAIN, *CHANGING, *(f"/fill{n}/60000" for n in range(40))]
        for target in targets:
            outrigger.get(target)
        for language in LANGUAGES:
            outrigger.get("/vary/3000", fields={"Accept-Language": language})
        await_written(outrigger, len(targets) + 1 + len(LANGUAGES))
        return outrigger

    origin.on("*", answer)
    return make


def reads(outrigger):
    return outrigger.metric("outrigger_store_read_seconds_count")


PLAIN = [f"/{n}/{size}" for n, size in enumerate(SIZES)]
CHANGING = ["/changes/softly", "/changes/purged", "/changes/posted"]
LANGUAGES = ["de", "fr"]
REQUESTS = [
    *[(target, {}) for target in PLAIN],
    ("/2/5000", {"fields": {"If-None-Match": '"2-5000"'}}),
    ("/2/5000", {"fields": {"If-Modified-Since": DATE}}),
    ("/2/5000", {"fields": {"Range": "bytes=10-19"}}),
    ("/2/5000", {"fields": {"Range": "bytes=9999-"}}),
    ("/2/5000", {"method": "HEAD"}),
    ("/2/5000", {"version": "1.0"}),
    *[("/vary/3000", {"fields": {"Accept-Language": language}}) for language in LANGUAGES],
]


def answers(outrigger):
    """What a client sees, but for what is of the moment."""
    for target, options in REQUESTS * 2:
        response = outrigger.get(target, **options)
        assert status_of(response)["hit"], (target, options)
        yield target, options, response.status, response.body, [(n, v) for n, v in response.fields if n.lower() not in OF_THIS_MOMENT]


def check_reads(outrigger, at_least):
    before = reads(outrigger)
    for n in (2, 3) * 5:
        assert outrigger.get(f"/fill{n}/60000").body == body_of(f"fill{n}", 60000)
    assert reads(outrigger) - before >= 10 * at_least
    assert at_least or reads(outrigger) == before


def check_many_at_once(outrigger):
    targets = {f"/fill{n}/60000": body_of(f"fill{n}", 60000) for n in range(3)}
    with Load(outrigger, targets, clients=8) as load:
        until(lambda: load.count >= 100 or load.failures, timeout=60 * SLOW, what="answers")
        load.end()
        assert not load.failures


def check_changes(outrigger, origin):
    softly, purged, posted = CHANGING
    assert outrigger.get(softly, method="PURGE", fields={"Fastly-Soft-Purge": "1"}).status == 200
    asked = origin.count()
    response = outrigger.get(softly)
    assert (response.body, status_of(response)["fwd"], origin.count()) == (b"it", "stale", asked + 1)
    response = outrigger.get(softly)
    assert (response.body, status_of(response).get("hit"), origin.count()) == (b"it", True, asked + 1)
    assert outrigger.get(purged, method="PURGE").status == 200
    assert "hit" not in status_of(outrigger.get(purged))
    outrigger.get(posted, method="POST", body=b"")
    assert "hit" not in status_of(outrigger.get(posted))
    assert status_of(outrigger.get(posted))["hit"]


def test_a_cache_that_is_off_changes_nothing_for_clients(server, origin):
    normal = None
    for without, at_least in READS.items():
        outrigger = server(without)
        asked, seen = origin.count(), list(answers(outrigger))
        normal = normal or seen
        assert seen == normal, without
        check_reads(outrigger, at_least)
        check_many_at_once(outrigger)
        assert origin.count() == asked, without
        check_changes(outrigger, origin)
        outrigger.stop()
