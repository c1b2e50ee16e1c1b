"""The dashboard of the admin listener, in a browser: everything is there, numbers move, nothing is asked from elsewhere, no error is reported."""
import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from harness.certificates import Authority, TlsOutrigger, pair
from harness.chromium import Chromium
from harness.http import Connection, get
from harness.load import Load
from harness.outrigger import SLOW
from harness.poll import until
from harness.store import with_store
from test_store_faults import Faults

ROOT = Path(__file__).resolve().parents[2]
CONTROL = {"admin": {"control": True}}
browser_needed = pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")


def admin(outrigger, target, host=None, **options):
    return get(outrigger.admin_port, target, host=host or f"127.0.0.1:{outrigger.admin_port}", **options)


@pytest.fixture
def chromium(tmp_path):
    with Chromium(tmp_path / "chromium") as browser:
        yield browser


def page_of(outrigger):
    return f"http://127.0.0.1:{outrigger.admin_port}/"


# ---- what is served ----


def test_the_page_and_its_files(outrigger):
    page = admin(outrigger, "/")
    assert page.status == 200 and page.get("content-type") == "text/html; charset=utf-8" and page.body.startswith(b"<!DOCTYPE html>")
    policy = page.get("content-security-policy")
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy and "http" not in policy
    for name, kind in (("dashboard.css", "text/css"), ("dashboard.js", "text/javascript"), ("icon.svg", "image/svg+xml")):
        answer = admin(outrigger, "/" + name)
        assert answer.status == 200 and answer.get("content-type").startswith(kind) and name.encode() in page.body
        if name != "icon.svg":
            assert not re.search(rb"https?://(?!www\.(w3\.org|example\.com))", answer.body), "nothing is asked from elsewhere"
    assert not re.search(rb"<script>|<style|\son\w+=|\sstyle=", page.body), "the policy would not let it"


def read_events(connection, count):
    """The first events of /events: [(name, data)]."""
    connection.send(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    received, found = b"", []
    while len(found) < count:
        got = connection.socket.recv(65536)
        assert got
        received += got
        body = re.sub(rb"\r\n[0-9a-fA-F]+\r\n", b"", received.split(b"\r\n\r\n", 1)[1] if b"\r\n\r\n" in received else b"")
        found = re.findall(rb"event: (\w+)\ndata: (.*)\n\n", body)
    assert received.startswith(b"HTTP/1.1 200") and b"text/event-stream" in received.split(b"\r\n\r\n")[0]
    return found


def test_events_go_on_and_the_server_drains_all_the_same(outrigger, origin):
    with Connection(outrigger.admin_port) as connection:
        events = read_events(connection, 3)
        assert [name for name, _ in events] == [b"hello", b"figures", b"figures"]
        hello, figures = json.loads(events[0][1]), json.loads(events[2][1])
        assert hello["control"] is False and hello["reasons"]["expired"] == "The freshness lifetime is over."
        assert figures["top"] is None and figures["stats"]["requests"]["total"] == 0 and len(figures["sizing"]["memory"]) == 5
        outrigger.stop(signal.SIGQUIT)
        assert outrigger.process.returncode == 0


def test_only_so_many_may_look(outrigger):
    connections = [Connection(outrigger.admin_port) for _ in range(16)]
    try:
        for connection in connections:
            read_events(connection, 1)
        assert admin(outrigger, "/events").status == 503
    finally:
        for connection in connections:
            connection.close()

    def may_look():
        with Connection(outrigger.admin_port) as connection:
            connection.send(b"HEAD /events HTTP/1.1\r\nHost: a\r\n\r\n")
            return connection.socket.recv(64).startswith(b"HTTP/1.1 200")
    until(may_look, what="a place to be free again")


# ---- who may ----


@pytest.mark.parametrize("host, origin_field, status", [("127.0.0.1:1", None, 200), ("localhost", None, 200), ("[::1]:8081", None, 200), ("127.0.0.1", "http://127.0.0.1", 200), ("rebound.test", None, 403),
                                                        ("localhost.rebound.test", None, 403), ("127.0.0.1", "http://evil.test", 403), ("127.0.0.1", "null", 403), ("127.0.0.1", "http://evil127.0.0.1", 403)])
def test_who_may_purge_over_the_listener_that_allows_it(make_outrigger, origin, host, origin_field, status):
    outrigger = make_outrigger(origin=origin.url, config=CONTROL)
    fields = {} if origin_field is None else {"Origin": origin_field}
    assert admin(outrigger, "/purge?url=http://site.test/", host=host, method="POST", fields=fields).status == status
    assert admin(outrigger, "/top", host=host, fields=fields).status == status


# ---- in a browser ----


@browser_needed
def test_numbers_move_under_load(make_outrigger, origin, chromium):
    outrigger = make_outrigger(origin=origin.url, config=CONTROL)
    origin.on("*", lambda request: request.answer(b"x" * 2000, fields={"Cache-Tag": "news", "Cache-Control": "max-age=60"} if "stored" in request.target else {"Cache-Control": "no-store"}))
    chromium.open(page_of(outrigger))
    chromium.until("document.getElementById('state') && document.getElementById('state').className === 'live'")
    with Load(outrigger, {target: b"x" * 2000 for target in [f"/stored/{n}" for n in range(20)] + ["/private"]}):
        chromium.until("parseFloat(document.getElementById('rate').textContent) > 1")
        chromium.until("/[1-9].*%/.test(document.getElementById('hit-ratio').textContent)")
        chromium.until("document.getElementById('reasons').textContent.includes('no-store')")
        chromium.until("document.getElementById('top-list').textContent.includes('/stored/')")
        chromium.until("document.querySelectorAll('#rate-line polyline').length === 1 && document.querySelectorAll('#sizing-memory circle').length === 5")
    assert "The response said no-store." in chromium.text("reasons")
    assert "median" in chromium.text("hit-latency") and "p99" in chromium.text("miss-latency")
    assert "addresses up" in chromium.text("origins") and "evictions" in chromium.text("memory") and "resolver" in chromium.text("helpers")
    chromium.run("document.getElementById('top-kind').value = 'tags', document.getElementById('top-kind').dispatchEvent(new Event('change'))")
    assert "news" in chromium.text("top-list")
    assert chromium.errors == []


@browser_needed
def test_why_and_purge_of_a_url(make_outrigger, origin, chromium):
    outrigger = make_outrigger(origin=origin.url, config=CONTROL)
    origin.on("/page", b"page")
    outrigger.get("/page", host="site.test")
    chromium.open(page_of(outrigger))
    chromium.until("document.getElementById('state') && document.getElementById('state').className === 'live'")
    chromium.run("document.getElementById('why-url').value = 'http://site.test/page'; document.querySelector('#why button').click()")
    chromium.until("document.getElementById('why-answer').textContent.includes('is answered from the cache')")
    chromium.run("document.getElementById('purge').click()")
    assert chromium.run("document.getElementById('confirm').open") and "http://site.test/page" in chromium.text("confirm-text")
    chromium.run("document.querySelector('#confirm button').click()")
    chromium.until("!document.getElementById('confirm').open")
    assert outrigger.get("/page", host="site.test").get("age") is not None, "not confirmed, not purged"
    chromium.run("document.getElementById('purge').click(); document.getElementById('confirm-yes').click()")
    assert chromium.until("!document.getElementById('confirm').open && /purged|stored of/.test(document.getElementById('why-answer').textContent) && document.getElementById('why-answer').textContent") == "purged"
    assert chromium.errors == []


@browser_needed
def test_what_is_not_allowed_is_not_offered_and_a_phone_can_show_it(outrigger, origin, chromium):
    chromium.resize(360, 740)
    chromium.open(page_of(outrigger))
    chromium.until("document.getElementById('state') && document.getElementById('state').className === 'live'")
    assert chromium.run("document.getElementById('purge').disabled && document.getElementById('top').hidden && !document.getElementById('not-allowed').hidden")
    assert chromium.run("document.documentElement.scrollWidth <= 360"), "nothing sticks out"
    assert chromium.errors == []


def alarms(chromium):
    return chromium.run("document.getElementById('alarms') ? document.getElementById('alarms').textContent : ''")


@browser_needed
def test_an_origin_that_is_down_is_an_alarm_and_each_one_has_its_row(make_outrigger, origin, chromium):
    sites = [{"hosts": ["a.test"], "origin": origin.url}, {"hosts": ["b.test"], "origin": "http://127.0.0.1:1"}]
    outrigger = make_outrigger(config={"sites": sites})
    chromium.open(page_of(outrigger))

    def is_told():
        get(outrigger.port, host="a.test"), get(outrigger.port, host="b.test")
        return "the origin http://127.0.0.1:1 of b.test is down" in alarms(chromium)
    until(is_told, timeout=30 * SLOW, what="an alarm")
    rows = chromium.run("JSON.stringify([...document.querySelectorAll('#origin-list tbody tr')].map(row => [...row.cells].map(cell => cell.textContent)))")
    (first, second) = json.loads(rows)
    assert first[:3] == [origin.url, "a.test", "up"] and second[:3] == ["http://127.0.0.1:1", "b.test", "down"]
    assert first[4] != "–" and second[4] == "–" and second[5] != "0" and "idle" in first[6]
    assert chromium.errors == []


def test_what_each_origin_did_is_told_and_outlives_a_reload(make_outrigger, origin):
    origin.on("*", lambda request: request.answer(b"x", fields={"Cache-Control": "no-store"}))
    outrigger = make_outrigger(origin=origin.url)
    for _ in range(5):
        outrigger.get("/")
    labels = {"site": "*", "origin": origin.url}
    for turn in range(2):
        outrigger.await_metric(5, "outrigger_site_origin_requests_total", **labels)
        outrigger.await_metric(5, "outrigger_site_origin_answers_total", **labels)
        assert outrigger.metric("outrigger_site_origin_up", **labels) == 1 and outrigger.metric("outrigger_site_origin_failures_total", **labels) == 0
        assert 0 < outrigger.metric("outrigger_site_origin_first_byte_seconds_total", **labels) < 10 * SLOW
        outrigger.ctl("reload")


def test_how_long_helpers_take_is_told(make_outrigger, tmp_path):
    (tmp_path / "page").write_bytes(b"page")
    outrigger = make_outrigger(origin=f"files:{tmp_path}")
    assert outrigger.get("/page").body == b"page"
    until(lambda: outrigger.metric("outrigger_helper_call_seconds_count", role="disk") > 0, what="the call to be told")
    assert outrigger.metric("outrigger_helper_call_seconds_sum", role="disk") > 0 and outrigger.stats()["latency"]["helper_disk"]["p50_seconds"] > 0


def test_certificates_are_told_of_at_the_same_time_everywhere(outrigger):
    with Connection(outrigger.admin_port) as connection:
        days = json.loads(read_events(connection, 1)[0][1])["certificate_days"]
    rules = (ROOT / "packaging" / "prometheus-alerts.yaml").read_text()
    assert re.findall(r"certificate_expiry_seconds - time\(\) < (\d+) \* 86400", rules) == [str(days)]


@browser_needed
def test_a_certificate_that_expires_is_an_alarm(tmp_path, origin, chromium):
    certificate = Authority(tmp_path).issue("a.test", days=(-1, 20))
    outrigger = TlsOutrigger(tmp_path, [{"hosts": ["a.test"], "origin": origin.url, "tls": pair(certificate)}])
    try:
        chromium.open(page_of(outrigger))
        until(lambda: "a certificate expires on " in alarms(chromium), timeout=30 * SLOW, what="an alarm")
        assert "a.test" in alarms(chromium)
    finally:
        outrigger.stop()


@browser_needed
def test_a_disk_in_trouble_is_an_alarm_until_it_works_again(make_outrigger, origin, tmp_path, chromium):
    faults = Faults(tmp_path / "faults")
    outrigger = with_store(make_outrigger, origin, tmp_path / "store", config={"disk": {"engine": "blocking", "admit": "always"}}, environment=faults.environment)
    origin.on("*", b"stored")
    chromium.open(page_of(outrigger))
    chromium.until("document.getElementById('state') && document.getElementById('state').className === 'live'")
    assert alarms(chromium) == ""
    faults.set("write 1 EIO")
    outrigger.get("/page")
    until(lambda: "is in trouble" in alarms(chromium), timeout=30 * SLOW, what="an alarm")
    faults.set("")
    until(lambda: alarms(chromium) == "", timeout=30 * SLOW, what="the end of the alarm")


@browser_needed
def test_memory_that_is_short_is_an_alarm_until_there_is_more(make_outrigger, origin, chromium):
    outrigger = make_outrigger(origin=origin.url)
    chromium.open(page_of(outrigger))
    chromium.until("document.getElementById('state') && document.getElementById('state').className === 'live'")
    assert alarms(chromium) == ""
    for limit, told in (("1MiB", lambda: "memory is short, " in alarms(chromium) and "no new client is accepted" in alarms(chromium)), ("off", lambda: alarms(chromium) == "")):
        outrigger.config["limits"] = {"memory": limit}
        outrigger.write_config()
        outrigger.ctl("reload")
        until(told, timeout=30 * SLOW, what=f"what the page says with {limit}")
    assert chromium.errors == []


def body_of(target):
    return b"x" * 5000 * (1 + sum(target.encode()) % 7)


@browser_needed
@pytest.mark.skipif("DASHBOARD_SCREENSHOT" not in os.environ, reason="make dashboard-screenshot")
def test_screenshot(make_outrigger, origin, chromium):
    outrigger = make_outrigger(origin=origin.url, config={**CONTROL, "cache": {"memory": "16MiB"}})
    origin.on("*", lambda request: request.answer(body_of(request.target), fields={"Cache-Tag": "news, front", "Cache-Control": "no-store" if "cart" in request.target else "max-age=60"}))
    chromium.resize(1100, 800)
    chromium.open(page_of(outrigger))
    chromium.until("document.getElementById('state') && document.getElementById('state').className === 'live'")
    targets = {f"/article/{n}": body_of(f"/article/{n}") for n in range(1500)} | {"/cart": body_of("/cart")}
    with Load(outrigger, targets), Load(outrigger, {target: body_of(target) for target in ("/", "/index.css", "/logo.svg", "/cart", "/news")}):
        chromium.until("document.querySelector('#rate-line polyline').getAttribute('points').split(' ').length > 12", timeout=60)
        chromium.screenshot(os.environ["DASHBOARD_SCREENSHOT"])
