"""Every reason that a request can meet is told in three places alike: Cache-Status, the access log and the metrics (RFC 9211, docs/CACHING.md)."""
import json
import re
from pathlib import Path

import pytest

from harness.outrigger import Outrigger
from harness.poll import until
from harness.status import status_of

ROOT = Path(__file__).resolve().parents[2]
WORDS = [word for word in re.findall(r'^DETAIL\(\w+,\s+"([^"]*)"', (ROOT / "cache/policy/detail.tbl").read_text(), re.M) if word]
FRESH = {"Cache-Control": "max-age=60"}
AGED = {"Cache-Control": "max-age=60", "Age": "30"}
OLD = {"Cache-Control": "max-age=10", "Age": "30", "ETag": '"1"'}

# reason: (the response's fields, requests: the last of them meets it)
REASONS = {
    "method": (FRESH, [{"method": "POST", "body": b"x"}]),
    "request-no-store": (FRESH, [{"fields": {"Cache-Control": "no-store"}}]),
    "request-no-cache": (FRESH, [{}, {"fields": {"Cache-Control": "no-cache"}}]),
    "request-max-age": (AGED, [{}, {"fields": {"Cache-Control": "max-age=10"}}]),
    "request-min-fresh": (AGED, [{}, {"fields": {"Cache-Control": "min-fresh=50"}}]),
    "request-max-stale": (OLD, [{}, {"fields": {"Cache-Control": "max-stale=1000"}}]),
    "cookie": (FRESH, [{"fields": {"Cookie": "session=1"}}]),
    "only-if-cached": (FRESH, [{"fields": {"Cache-Control": "only-if-cached"}}]),
    "head-miss": (FRESH, [{"method": "HEAD"}]),
    "expired": (OLD, [{}, {}]),
    "no-cache": ({"Cache-Control": "no-cache", "ETag": '"1"'}, [{}, {}]),
    "no-validator": ({"Cache-Control": "max-age=10, stale-if-error=1000", "Age": "30"}, [{}, {}]),
    "stale-while-revalidate": ({**OLD, "Cache-Control": "max-age=10, stale-while-revalidate=1000"}, [{}, {}]),
    "no-store": ({"Cache-Control": "no-store"}, [{}]),
    "private": ({"Cache-Control": "private"}, [{}]),
    "authorization": (FRESH, [{"fields": {"Authorization": "Basic eDp5"}}]),
    "set-cookie": ({**FRESH, "Set-Cookie": "a=b"}, [{}]),
    "vary-star": ({**FRESH, "Vary": "*"}, [{}]),
    "vary-coding": ({**FRESH, "Vary": "Accept-Encoding", "Content-Encoding": "foo"}, [{}]),
    "must-understand": ({"Cache-Control": "max-age=60, must-understand", "status": "299 Odd"}, [{}]),
    "status": ({"status": "302 Found"}, [{}]),
    "partial": ({**FRESH, "status": "206 Partial Content"}, [{}]),
    "no-freshness": ({}, [{}]),
    "zero-lifetime": ({"Cache-Control": "max-age=0"}, [{}]),
    "too-large": ({**FRESH, "size": 2 * 1024 * 1024}, [{}]),
    "head-too-large": ({**FRESH, "X": "x" * 65400}, [{}]),
    "variants-full": ({**FRESH, "Vary": "X-Kind"}, [{"fields": {"X-Kind": str(n)}} for n in range(4)]),
    "tags-full": ({**FRESH, "Surrogate-Key": " ".join(map(str, range(1100)))}, [{}]),
}
# Those that need an origin in trouble, two clients at a time or a purge, or that only `why` meets: each has a test of its own.
ELSEWHERE = {"acme-challenge", "upgrade", "request-body", "stale-if-error", "stale-if-slow", "error", "validator", "no-slices", "vary-too-large", "no-memory", "variant", "hit-for-miss", "purged", "soft-purged", "disk", "memory-short"}


@pytest.fixture(scope="module")
def telling(back, tmp_path_factory):
    rules = {"honour_request_directives": True, "bypass_cookies": ["session"], "hit_for_miss": 0}
    log = tmp_path_factory.mktemp("log") / "access.json"
    outrigger = Outrigger(tmp_path_factory.mktemp("reasons"), origin=back.url, site={"cache": rules},
                          config={"cache": {"object_max": "1MiB", "variants": 3}, "access_log": {"path": str(log), "format": "json"}})
    outrigger.access_log = log
    yield outrigger
    outrigger.stop()


def test_every_reason_is_one_of_these():
    assert set(REASONS) | ELSEWHERE == set(WORDS) and not set(REASONS) & ELSEWHERE


@pytest.mark.parametrize("word", REASONS)
def test_a_reason_is_told_alike_everywhere(telling, back, path, word):
    fields, requests = REASONS[word]
    fields = dict(fields)
    status, size = fields.pop("status", "200 OK"), fields.pop("size", 4)
    back.on(path, lambda request: request.answer(b"x" * size, status, fields))
    for request in requests[:-1]:
        telling.get(path, **request)
    before = telling.metric("outrigger_requests_by_detail_total", detail=word)
    assert status_of(telling.get(path, **requests[-1]))["detail"] == word
    telling.await_metric(before + 1, "outrigger_requests_by_detail_total", detail=word)
    told = lambda: [json.loads(line)["detail"] for line in telling.access_lines() if f'{path}"' in line]
    until(lambda: len(told()) == len(requests), what="a line in the access log for each request")
    assert word in told()


def test_the_metrics_and_the_page_have_a_row_for_each(telling):
    rows = {match[1] for match in (re.search(r'by_detail_total\{detail="([^"]+)"', row) for row in telling.metrics()) if match}
    page = (ROOT / "docs/CACHING.md").read_text()
    assert rows == set(WORDS) and all(f"| `{word}` |" in page for word in WORDS)
