"""Reload: a changed configuration is taken while requests run, a wrong one is refused with its mistakes, and no connection is dropped."""
import copy
import os
import signal
import threading

import pytest

from harness.http import Connection, get
from harness.load import Load
from harness.memory import resident_kib
from harness.outrigger import SLOW
from harness.poll import until
from harness.ports import free_port

PASSED = {"Cache-Control": "no-store"}


def passed(body):
    return lambda request: request.answer(body, fields=PASSED)


def generation(outrigger):
    return outrigger.metric("outrigger_config_generation")


def rewrite(outrigger, **changes):
    """Writes the configuration with those keys changed; the running one is untouched."""
    outrigger.config.update(copy.deepcopy(changes))
    outrigger.write_config()


def hup(outrigger):
    before = generation(outrigger)
    outrigger.send_signal(signal.SIGHUP)
    until(lambda: generation(outrigger) > before, what="the new configuration to serve")


@pytest.fixture
def two(make_origin):
    old, new = make_origin(), make_origin()
    old.on("*", passed(b"old"))
    new.on("*", passed(b"new"))
    return old, new


def site(origin, hosts="*", **more):
    return {"hosts": [hosts], "origin": origin.url, **more}


def test_a_changed_origin_is_asked_and_the_old_ones_connections_close(make_outrigger, two):
    old, new = two
    outrigger = make_outrigger(origin=old.url)
    with outrigger.connect() as client:
        assert client.request("/").body == b"old"
        rewrite(outrigger, sites=[site(new)])
        hup(outrigger)
        assert client.request("/").body == b"new", "a kept connection sees the new configuration with its next request"
    until(lambda: not old.open, what="the pool of the old origin to be closed")
    until(lambda: "the new configuration serves" in outrigger.errors(), what="the log to tell")


def test_sites_come_and_go(make_outrigger, two):
    old, new = two
    outrigger = make_outrigger(config={"sites": [site(old, "a.test")]})
    assert get(outrigger.port, host="a.test").body == b"old" and get(outrigger.port, host="b.test").status == 404
    rewrite(outrigger, sites=[site(new, "b.test")])
    hup(outrigger)
    assert get(outrigger.port, host="b.test").body == b"new" and get(outrigger.port, host="a.test").status == 404


def test_what_is_stored_stays_stored(make_outrigger, origin):
    origin.on("/stored", b"stored")
    outrigger = make_outrigger(origin=origin.url)
    assert outrigger.get("/stored").body == b"stored"
    hup(outrigger)
    assert "; hit" in outrigger.get("/stored").get("cache-status")
    assert origin.count() == 1


def test_a_request_under_way_ends_under_the_configuration_it_began_with(make_outrigger, two):
    old, new = two
    go_on = threading.Event()

    def slow(request):
        request.send("HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 8\r\n\r\nhalf")
        go_on.wait(30 * SLOW)
        request.send("half")

    old.on("/slow", slow)
    outrigger = make_outrigger(origin=old.url)
    with outrigger.connect(timeout=30 * SLOW) as client:
        client.send("GET /slow HTTP/1.1\r\nHost: site.test\r\n\r\n")
        client.read_until(b"half")
        rewrite(outrigger, sites=[site(new)])
        hup(outrigger)
        assert outrigger.get("/").body == b"new"
        go_on.set()
        assert client.read_exactly(4) == b"half"
        assert client.request("/").body == b"new", "on the same connection"


def test_a_request_that_waits_for_its_origin_gets_that_origins_answer(make_outrigger, two):
    old, new = two
    arrived, go_on = threading.Event(), threading.Event()

    def wait(request):
        arrived.set()
        go_on.wait(30 * SLOW)
        request.answer(b"old, late", fields=PASSED)

    old.on("/wait", wait)
    outrigger = make_outrigger(origin=old.url)
    with outrigger.connect(timeout=30 * SLOW) as client:
        client.send("GET /wait HTTP/1.1\r\nHost: site.test\r\n\r\n")
        assert arrived.wait(20 * SLOW)
        rewrite(outrigger, sites=[site(new)])
        hup(outrigger)
        go_on.set()
        assert client.response().body == b"old, late"


def test_listeners_come_and_go_and_connections_of_a_closed_one_live_on(make_outrigger, two):
    old, _ = two
    outrigger = make_outrigger(origin=old.url)
    first, second = outrigger.port, free_port()
    kept = outrigger.connect()
    assert kept.request("/").body == b"old"
    rewrite(outrigger, listen=[{"address": f"127.0.0.1:{first}"}, {"address": f"127.0.0.1:{second}"}])
    hup(outrigger)
    assert get(first).body == get(second).body == b"old"
    rewrite(outrigger, listen=[{"address": f"127.0.0.1:{second}"}])
    hup(outrigger)
    assert get(second).body == b"old"

    def is_refused():
        try:
            Connection(first).close()
        except ConnectionRefusedError:
            return True

    until(is_refused, what="the first listener to be closed")
    assert kept.request("/").body == b"old", "accepted before: kept"
    kept.close()


def test_a_listener_that_cannot_be_bound_refuses_the_reload(make_outrigger, make_origin, two):
    old, new = two
    outrigger = make_outrigger(origin=old.url)
    rewrite(outrigger, sites=[site(new)], listen=[{"address": f"127.0.0.1:{outrigger.port}"}, {"address": f"127.0.0.1:{new.port}"}])
    done = outrigger.ctl("reload", check=False)
    assert done.returncode == 1 and f"127.0.0.1:{new.port}: Address already in use" in done.stderr
    assert outrigger.get("/").body == b"old", "nothing of it is taken"


def test_a_configuration_with_mistakes_is_refused_with_all_of_them(make_outrigger, two):
    old, new = two
    outrigger = make_outrigger(origin=old.url)
    before = generation(outrigger)
    outrigger.write_config(f"workers: 2\nlissten: ':1'\ncache:\n  memory: lots\nsites:\n  - hosts: ['*']\n    origin: {new.url}\n")
    outrigger.send_signal(signal.SIGHUP)
    until(lambda: "the new configuration is refused; the old one keeps serving" in outrigger.errors(), what="the refusal in the log")
    log = outrigger.errors()
    assert f"{outrigger.config_path}:2:1: error: " in log and f"{outrigger.config_path}:4:11: error: " in log
    assert "lissten" in log and "did you mean" in log
    assert outrigger.get("/").body == b"old" and generation(outrigger) == before
    rewrite(outrigger, sites=[site(new)])
    hup(outrigger)
    assert outrigger.get("/").body == b"new", "and a good one is taken after it"


@pytest.mark.parametrize("text", ["", "sites: [", "\0", "\xff\xfe", "- a\n- list\n", "sites: []\n", "a: &a [*a]\n", "x" * 100_000, "[" * 5000])
def test_what_is_no_configuration_is_refused(make_outrigger, two, text):
    old, _ = two
    outrigger = make_outrigger(origin=old.url)
    outrigger.config_path.write_bytes(text.encode("latin-1"))
    done = outrigger.ctl("reload", check=False)
    assert done.returncode == 1 and "error:" in done.stderr
    assert outrigger.get("/").body == b"old"


def test_a_configuration_that_is_gone_is_refused(make_outrigger, two):
    old, _ = two
    outrigger = make_outrigger(origin=old.url)
    outrigger.config_path.unlink()
    done = outrigger.ctl("reload", check=False)
    assert done.returncode == 1 and "No such file or directory" in done.stderr and str(outrigger.config_path) in done.stderr
    assert outrigger.get("/").body == b"old"


def test_outriggerctl_waits_until_the_new_configuration_serves(make_outrigger, two):
    old, new = two
    outrigger = make_outrigger(origin=old.url)
    for n in range(10):
        rewrite(outrigger, sites=[site((new, old)[n % 2])])
        assert outrigger.ctl("reload").stdout == "reloaded\n"
        assert outrigger.get("/").body == (b"new", b"old")[n % 2]


def test_settings_that_need_a_restart_are_named_and_the_rest_is_taken(make_outrigger, two):
    old, new = two
    outrigger = make_outrigger(origin=old.url)
    rewrite(outrigger, sites=[site(new)], workers=1, cache={"memory": "64MiB"}, helpers={"disk": 3})
    outrigger.ctl("reload")
    for key in ("workers", "cache.memory", "helpers.disk"):
        until(lambda: f"{key} changed: it keeps its old value until the server is restarted" in outrigger.errors(), what=f"the warning for {key}")
    assert "helpers.resolver changed" not in outrigger.errors()
    assert outrigger.metric("outrigger_workers") == 2 and len(outrigger.children("disk")) == 4
    assert outrigger.get("/").body == b"new"


def test_limits_and_timeouts_change_for_connections_that_are_open(make_outrigger, two):
    old, _ = two
    outrigger = make_outrigger(origin=old.url)
    with outrigger.connect() as client:
        assert client.request("/" + "x" * 200).body == b"old"
        rewrite(outrigger, limits={"url_bytes": "100B"})
        outrigger.ctl("reload")
        assert client.request("/" + "x" * 200).status == 414


def test_the_log_format_and_path_change(make_outrigger, two):
    old, _ = two
    outrigger = make_outrigger(origin=old.url)
    outrigger.get("/before")
    outrigger.await_access_lines(1)
    other = outrigger.directory / "other.log"
    rewrite(outrigger, access_log={"path": str(other), "format": "json"})
    outrigger.ctl("reload")
    outrigger.get("/after")
    until(lambda: other.exists() and "/after" in other.read_text(), what="the line in the new file")
    assert other.read_text().startswith("{") and "/after" not in outrigger.access_log.read_text()


def test_a_files_origin_can_be_added(make_outrigger, two, tmp_path):
    old, _ = two
    (tmp_path / "added").mkdir()
    (tmp_path / "added" / "file").write_bytes(b"a file")
    outrigger = make_outrigger(origin=old.url)
    rewrite(outrigger, sites=[{"hosts": ["*"], "origin": f"files:{tmp_path / 'added'}"}])
    outrigger.ctl("reload")
    assert outrigger.get("/file").body == b"a file"


def test_the_proxy_that_is_started_again_serves_the_last_good_configuration(make_outrigger, two):
    old, new = two
    outrigger = make_outrigger(origin=old.url)
    rewrite(outrigger, sites=[site(new)])
    outrigger.ctl("reload")
    outrigger.write_config("nonsense")
    (proxy,) = outrigger.children("proxy")
    os.kill(proxy, signal.SIGKILL)
    outrigger.await_children("proxy", 1, without=proxy)
    assert outrigger.get("/").body == b"new"


def test_a_reload_while_the_proxy_is_started_again_is_not_lost(make_outrigger, two):
    old, new = two
    outrigger = make_outrigger(origin=old.url)
    for n in range(5):
        rewrite(outrigger, sites=[site((new, old)[n % 2])])
        (proxy,) = outrigger.children("proxy")
        os.kill(proxy, signal.SIGKILL)
        outrigger.send_signal(signal.SIGHUP)
        outrigger.await_children("proxy", 1, without=proxy)
        until(lambda: outrigger.get("/").body == (b"new", b"old")[n % 2], what="the new configuration")


@pytest.mark.threads
def test_fifty_reloads_under_load_fail_no_request(make_outrigger, make_origin):
    origins = [make_origin(), make_origin()]
    for origin in origins:
        origin.on("/stored", b"stored")
        origin.on("/passed", passed(b"passed"))
    outrigger = make_outrigger(origin=origins[0].url)
    with Load(outrigger, {"/stored": b"stored", "/passed": b"passed", "/stored?{}": b"stored"}) as load:
        for n in range(50):
            rewrite(outrigger, sites=[site(origins[n % 2])])
            outrigger.ctl("reload")
        goal = load.count + 50
        until(lambda: load.count >= goal or load.failures, timeout=60 * SLOW, what="requests after the last reload")
        load.end()
        assert not load.failures
    assert generation(outrigger) == 51
    until(lambda: not origins[0].open, what="the retired origin's connections to be closed")


def test_reloads_with_ever_other_sites_fail_no_request_and_leave_no_memory_behind(make_outrigger, origin):
    """RELOADS=1000 is the long version, which looks at the memory too."""
    count = int(os.environ.get("RELOADS", "20"))
    origin.on("*", passed(b"passed"))
    outrigger = make_outrigger(origin=origin.url)
    early = 0
    with Load(outrigger, {"/passed": b"passed"}) as load:
        for n in range(count):
            others = [site(origin, hosts=f"site-{n}-{i}.test", cache={"grace": f"{n + 1}s"}) for i in range(n * 7 % 50)]
            rewrite(outrigger, sites=[site(origin), *others])
            outrigger.ctl("reload")
            if n == count // 5:
                early = resident_kib(outrigger.children("proxy")[0]) + resident_kib(outrigger.process.pid)
        goal = load.count + 50
        until(lambda: load.count >= goal or load.failures, timeout=60 * SLOW, what="requests after the last reload")
        load.end()
        assert not load.failures
    late = resident_kib(outrigger.children("proxy")[0]) + resident_kib(outrigger.process.pid)
    print(f"{count} reloads: {early} KiB, then {late} KiB")
    assert generation(outrigger) == count + 1
    assert count < 500 or late < early + 4096, f"{early} KiB after a fifth of them, {late} KiB after all"


@pytest.mark.threads
def test_signals_that_come_faster_than_reloads_end_with_the_last_configuration(make_outrigger, two):
    old, new = two
    outrigger = make_outrigger(origin=old.url)
    rewrite(outrigger, sites=[site(new)])
    for _ in range(20):
        outrigger.send_signal(signal.SIGHUP)
    until(lambda: outrigger.get("/").body == b"new", what="the new configuration")
    assert outrigger.ctl("reload").returncode == 0
    assert outrigger.get("/").body == b"new"


def test_a_reload_during_a_drain_changes_nothing(make_outrigger, two):
    old, _ = two
    arrived, go_on = threading.Event(), threading.Event()

    def wait(request):
        arrived.set()
        go_on.wait(30 * SLOW)
        request.answer(b"done", fields=PASSED)

    old.on("/wait", wait)
    outrigger = make_outrigger(origin=old.url)
    with outrigger.connect(timeout=30 * SLOW) as client:
        client.send("GET /wait HTTP/1.1\r\nHost: site.test\r\n\r\n")
        assert arrived.wait(20 * SLOW)
        outrigger.send_signal(signal.SIGQUIT)
        outrigger.await_notification("STOPPING=1")
        outrigger.send_signal(signal.SIGHUP)
        go_on.set()
        assert client.response().body == b"done"
    assert outrigger.process.wait(10 * SLOW) == 0


def test_the_service_manager_is_told(make_outrigger, two):
    old, _ = two
    outrigger = make_outrigger(origin=old.url)
    outrigger.send_signal(signal.SIGHUP)
    assert "MONOTONIC_USEC=" in outrigger.await_notification("RELOADING=1")
    outrigger.await_notification("READY=1")
    outrigger.write_config("wrong: true\n")
    outrigger.send_signal(signal.SIGHUP)
    outrigger.await_notification("RELOADING=1")
    assert "refused" in outrigger.await_notification("READY=1")
