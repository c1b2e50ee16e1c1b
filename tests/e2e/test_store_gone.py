"""What was purged, invalidated or replaced does not come back after a restart, however the process ended."""
import signal

import pytest
from harness.poll import until
from harness.status import status_of
from harness.store import await_written, restart, with_store
from test_store import FRESH, HOWS, store  # noqa: F401


def counted(origin, fields):
    """Each answer has a number of its own."""
    count = iter(range(1, 1000))
    origin.on("*", lambda request: request.answer(f"{next(count)}", fields={**FRESH, **fields}))


PURGES = {
    "url": lambda outrigger: ["purge", f"http://site.test/"],
    "tag": lambda outrigger: ["purge", "--tag", "shop"],
    "host": lambda outrigger: ["purge", "--host", "site.test"],
    "all": lambda outrigger: ["purge", "--all"],
}


@HOWS
@pytest.mark.parametrize("by", PURGES)
def test_a_purge_holds_after_a_restart(store, origin, by, how):
    counted(origin, {"Surrogate-Key": "shop"})
    outrigger = store()
    assert outrigger.get("/").body == b"1"
    await_written(outrigger, 1)
    outrigger.ctl(*PURGES[by](outrigger))
    restart(outrigger, how)
    assert outrigger.get("/").body == b"2"
    await_written(outrigger, 1)
    restart(outrigger, how)
    assert outrigger.get("/").body == b"2", "what came after the purge"


@pytest.mark.parametrize("by", PURGES)
def test_what_is_only_on_disk_can_be_purged(store, origin, by):
    counted(origin, {"Surrogate-Key": "shop"})
    outrigger = store()
    outrigger.get("/")
    await_written(outrigger, 1)
    restart(outrigger)
    outrigger.ctl(*PURGES[by](outrigger))
    assert outrigger.get("/").body == b"2"


@pytest.mark.parametrize("by", PURGES)
def test_a_soft_purge_of_what_is_only_on_disk_has_it_validated(store, origin, by):
    def validated(request):
        if request.get("If-None-Match"):
            request.answer(status="304 Not Modified", fields={**FRESH, "ETag": '"1"', "Surrogate-Key": "shop"}, length=False)
        else:
            request.answer(b"body", fields={**FRESH, "ETag": '"1"', "Surrogate-Key": "shop"})

    origin.on("*", validated)
    outrigger = store()
    outrigger.get("/")
    await_written(outrigger, 1)
    restart(outrigger)
    outrigger.ctl(*PURGES[by](outrigger), "--soft")
    response = outrigger.get("/")
    assert (response.body, status_of(response).get("detail")) == (b"body", "soft-purged")
    assert origin.last().get("If-None-Match") == '"1"'


def test_a_purged_url_loses_all_its_variants_on_disk(store, origin):
    count = iter(range(1, 1000))
    origin.on("*", lambda request: request.answer(f"{request.get('Accept-Language')} {next(count)}", fields={**FRESH, "Vary": "Accept-Language"}))
    outrigger = store()
    for language in ("de", "en"):
        outrigger.get("/", fields={"Accept-Language": language})
    await_written(outrigger, 3)
    restart(outrigger)
    outrigger.ctl(*PURGES["url"](outrigger))
    restart(outrigger)
    assert outrigger.get("/", fields={"Accept-Language": "en"}).body == b"en 3"
    assert outrigger.get("/", fields={"Accept-Language": "de"}).body == b"de 4"


@HOWS
def test_what_a_post_invalidated_stays_invalid(store, origin, how):
    counted(origin, {})
    outrigger = store()
    assert outrigger.get("/").body == b"1"
    await_written(outrigger, 1)
    restart(outrigger, how)
    assert outrigger.get("/", method="POST", body=b"x").body == b"2"
    restart(outrigger, how)
    assert outrigger.get("/").body == b"3"


def test_what_was_replaced_by_something_that_is_not_stored_is_gone(store, origin):
    answers = iter([({"Cache-Control": "max-age=1, stale-if-error=0"}, b"old"), ({"Cache-Control": "no-store"}, b"new"), ({"Cache-Control": "no-store"}, b"newer")])

    def answer(request):
        fields, body = next(answers)
        request.answer(body, fields=fields)

    origin.on("*", answer)
    outrigger = store()
    outrigger.get("/")
    until(lambda: not status_of(outrigger.get("/")).get("hit"), what="it to be stale")
    restart(outrigger)
    assert outrigger.get("/").body == b"newer"


