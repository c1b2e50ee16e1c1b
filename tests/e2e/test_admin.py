"""The admin interface: health, metrics, purging, and outriggerctl over the Unix socket."""
import json
import os
import re
import signal
import stat
import subprocess
import threading

import pytest

from harness.http import Connection, get
from harness.load import Load
from harness.outrigger import CONTROL, SLOW
from harness.poll import until

PASSED = {"Cache-Control": "no-store"}
SAMPLE = re.compile(r'(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (?P<value>[-+]?(?:[0-9.e+-]+|Inf|NaN))')


def admin(outrigger, target, **options):
    return get(outrigger.admin_port, target, host="localhost", **options)


# ---- pages ----


def test_healthz_is_ok(outrigger):
    answer = admin(outrigger, "/healthz")
    assert (answer.status, answer.body) == (200, b"ok\n") and answer.get("content-type").startswith("text/plain")


def test_metrics_are_prometheus_text(outrigger, origin):
    """Names, types before samples, one family together, no sample twice, histograms that add up."""
    origin.on("/", b"x")
    outrigger.get("/")
    answer = admin(outrigger, "/metrics")
    assert answer.status == 200 and answer.get("content-type").startswith("text/plain; version=0.0.4")
    text = answer.body.decode()
    assert text.endswith("\n")
    types, helps, seen, families = {}, {}, set(), []
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in types and kind in ("counter", "gauge", "histogram"), line
            types[name] = kind
        elif line.startswith("# HELP "):
            name = line.split()[2]
            assert name not in helps and len(line.split()) > 3, line
            helps[name] = line
        else:
            sample = SAMPLE.fullmatch(line)
            assert sample, line
            family = re.sub("_(bucket|sum|count)$", "", sample["name"]) if sample["name"] not in types else sample["name"]
            assert family in types and family in helps, line
            assert types[family] != "counter" or family.endswith("_total"), line
            assert (sample["name"], sample["labels"]) not in seen, line
            seen.add((sample["name"], sample["labels"]))
            if not families or families[-1] != family:
                families.append(family)
            assert sample["name"].startswith("outrigger_")
    assert len(families) == len(set(families)), "a family stands in one place"
    for family in [name for name, kind in types.items() if kind == "histogram"]:
        buckets = [(m[1], int(m[2])) for m in re.finditer(rf'^{family}_bucket{{(?:[^}}]*,)?le="([^"]+)"}} (\d+)$', text, re.M)]
        assert buckets[-1][0] == "+Inf"
        assert int(re.search(rf"^{family}_count(?:{{[^}}]*}})? (\d+)$", text, re.M)[1]) in [count for le, count in buckets if le == "+Inf"]


def test_no_url_appears_in_the_metrics(outrigger, origin):
    origin.on("*", b"x")
    outrigger.get("/very-secret-path", host="secret-host.test")
    outrigger.await_metric(1, "outrigger_requests_total")
    assert b"secret" not in admin(outrigger, "/metrics").body


@pytest.mark.parametrize("target, method, status", [("/", "POST", 405), ("/dashboard", "GET", 404), ("/metricsx", "GET", 404), ("/metrics", "POST", 405), ("/healthz", "DELETE", 405), ("/purge", "GET", 405),
                                                    ("/reload", "GET", 405), ("/reload", "POST", 403), ("/purge?url=http://site.test/", "POST", 403)])
def test_what_the_tcp_listener_does_not_do(outrigger, target, method, status):
    answer = admin(outrigger, target, method=method)
    assert answer.status == status and answer.body


def test_the_public_listener_has_no_admin_pages(outrigger, origin):
    origin.on("*", lambda request: request.answer(b"the site's own", fields=PASSED))
    for target in ("/metrics", "/healthz", "/stats"):
        assert outrigger.get(target).body == b"the site's own"


def test_head_of_a_page(outrigger):
    answer = admin(outrigger, "/healthz", method="HEAD")
    assert (answer.status, answer.body, answer.get("content-length")) == (200, b"", "3")


def test_admin_listener_off_and_socket_off(make_outrigger, origin):
    outrigger = make_outrigger(origin=origin.url, config={"admin": {"listen": "off", "socket": "off"}})
    assert outrigger.get("/").status == 404
    with pytest.raises(ConnectionRefusedError):
        Connection(outrigger.admin_port)
    assert not os.path.exists(outrigger.socket)


# ---- counters move ----


def test_requests_are_counted_by_status_and_result(outrigger, origin):
    origin.on("/stored", b"stored")
    origin.on("/error", lambda request: request.answer(b"", status="500 Oh"))
    for target in ("/stored", "/stored", "/stored", "/error", "/missing"):
        outrigger.get(target)
    outrigger.get("/", host="")
    for labels, count in (({"status": "200", "result": "MISS"}, 1), ({"status": "200", "result": "HIT"}, 2), ({"status": "500"}, 1), ({"status": "404"}, 1),
                          ({"status": "400", "result": "NONE"}, 1), ({}, 6)):
        outrigger.await_metric(count, "outrigger_requests_total", **labels)
    assert outrigger.metric("outrigger_cache_hit_ratio") == pytest.approx(2 / 5)
    assert outrigger.metric("outrigger_client_bad_requests_total") == 1


def test_bytes_are_counted(outrigger, origin):
    origin.on("/stored", b"x" * 10000)
    with outrigger.connect() as client:
        for _ in range(3):
            client.request("/stored")
    until(lambda: outrigger.metric("outrigger_client_sent_bytes_total") > 30000, what="the bytes of three answers")
    outrigger.await_metric(20000, "outrigger_cache_sent_bytes_total")
    assert 10000 < outrigger.metric("outrigger_origin_received_bytes_total") < 11000
    assert outrigger.metric("outrigger_origin_sent_bytes_total") > 50
    assert outrigger.metric("outrigger_client_received_bytes_total") > 100


def test_a_latency_histogram_of_origins(outrigger, origin):
    pause = threading.Event()
    origin.on("/slow", lambda request: pause.wait(0.15) or request.answer(b"slow", fields=PASSED))
    for n in range(3):
        outrigger.get("/slow")
    assert outrigger.metric("outrigger_origin_first_byte_seconds_count") == 3
    assert outrigger.metric("outrigger_origin_first_byte_seconds_sum") >= 0.4
    assert outrigger.metric("outrigger_origin_first_byte_seconds_bucket", le="0.1") == 0
    assert outrigger.metric("outrigger_origin_first_byte_seconds_bucket", le="+Inf") == 3


def test_connections_and_the_pool(outrigger, origin):
    origin.on("*", lambda request: request.answer(b"x", fields=PASSED))
    until(lambda: outrigger.metric("outrigger_client_connections") <= 1, what="only the one that asks")
    clients = [outrigger.connect() for _ in range(7)]
    for client in clients:
        client.request("/")
    outrigger.await_metric(8, "outrigger_client_connections")  # and the one that asks
    assert outrigger.metric("outrigger_client_connections_accepted_total") >= 8
    assert outrigger.metric("outrigger_origin_requests_total") == 7
    assert outrigger.metric("outrigger_origin_connections_opened_total") + outrigger.metric("outrigger_origin_connections_reused_total") == 7
    for client in clients:
        client.close()
    until(lambda: outrigger.metric("outrigger_client_connections") == 1, what="the clients to be gone")


def test_memory_by_kind(outrigger, origin):
    for n in range(20):
        origin.on(f"/{n}", b"x" * 100_000)
        outrigger.get(f"/{n}")
    assert outrigger.metric("outrigger_cache_memory_bytes", kind="limit") == 32 << 20
    until(lambda: outrigger.metric("outrigger_cache_objects") == 20, what="twenty stored responses")
    assert 2_000_000 <= outrigger.metric("outrigger_cache_memory_bytes", kind="allocated") < 4_000_000
    allocated, free = (outrigger.metric("outrigger_cache_memory_bytes", kind=kind) for kind in ("allocated", "free"))
    assert allocated + free <= 32 << 20
    assert outrigger.metric("outrigger_cache_memory_bytes", kind="index") > 0
    assert outrigger.metric("outrigger_process_resident_memory_bytes") > 1 << 20


def test_helpers(make_outrigger, tmp_path):
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "file").write_bytes(b"x")
    outrigger = make_outrigger(origin=f"files:{tmp_path / 'www'}", config={"helpers": {"disk": 3, "resolver": 2}})
    outrigger.get("/file")
    outrigger.await_metric(3, "outrigger_helpers", role="disk")
    outrigger.await_metric(2, "outrigger_helpers", role="resolver")
    outrigger.await_metric(outrigger.metric("outrigger_file_reads_total"), "outrigger_helper_requests_total", role="disk")
    outrigger.await_metric(0, "outrigger_helper_queue_depth", role="disk")
    for role in ("disk", "resolver", "log"):
        assert outrigger.metric("outrigger_helper_restarts_total", role=role) == 0


def test_a_helper_that_hangs_shows_in_the_queue_depth(make_outrigger, tmp_path):
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "file").write_bytes(b"x")
    outrigger = make_outrigger(origin=f"files:{tmp_path / 'www'}", config={"helpers": {"disk": 1, "deadline": "1s" if SLOW == 1 else "3s"}})
    os.kill(outrigger.await_children("disk", 1)[0], signal.SIGSTOP)
    clients = [outrigger.connect(timeout=30 * SLOW).send(f"GET /file?{n} HTTP/1.1\r\nHost: site.test\r\n\r\n") for n in range(5)]
    outrigger.await_metric(5, "outrigger_helper_queue_depth", role="disk")
    for client in clients:
        assert client.response().status == 200
    outrigger.await_metric(0, "outrigger_helper_queue_depth", role="disk")
    outrigger.await_metric(1, "outrigger_helper_restarts_total", role="disk")


@pytest.mark.threads
def test_metrics_can_be_read_under_load(outrigger, origin):
    origin.on("/stored", b"stored")
    with Load(outrigger, {"/stored": b"stored", "/stored?{}": b"stored"}) as load:
        totals = []
        until(lambda: totals.append(outrigger.metric("outrigger_requests_total")) or load.count > 500 or load.failures, timeout=60 * SLOW, what="load")
        load.end()
    assert not load.failures and totals == sorted(totals)
    outrigger.await_metric(load.count, "outrigger_requests_total")


# ---- purging ----


def test_purge_by_method_from_an_allowed_address(outrigger, origin):
    origin.on("/page", lambda request: request.answer(request.get("accept-language") or "-", fields={"Cache-Control": "max-age=60", "Vary": "Accept-Language"}))
    for language in ("en", "de"):
        outrigger.get("/page", fields={"Accept-Language": language})
    answer = outrigger.get("/page", method="PURGE")
    assert answer.status == 200 and json.loads(answer.body)["purged"] is True
    for language in ("en", "de"):
        assert outrigger.get("/page", fields={"Accept-Language": language}).body == language.encode()
    assert origin.count("/page") == 4 and not [r for r in origin.requests if r.method == "PURGE"]
    assert json.loads(outrigger.get("/never-seen", method="PURGE").body)["purged"] is False


def test_purge_by_method_from_elsewhere_is_forbidden(make_outrigger, origin):
    origin.on("/page", b"page")
    outrigger = make_outrigger(origin=origin.url, site={"purge": {"allow": ["10.0.0.0/8"]}})
    outrigger.get("/page")
    assert outrigger.get("/page", method="PURGE").status == 403
    assert "; hit" in outrigger.get("/page").get("cache-status")
    assert not [r for r in origin.requests if r.method == "PURGE"]


def test_outriggerctl_purges(outrigger, origin):
    origin.on("*", b"page")
    outrigger.get("/page?a=b&c=%20")
    url = "http://site.test/page?a=b&c=%20"
    assert outrigger.ctl("purge", url).stdout == "purged\n"
    assert outrigger.ctl("purge", url).stdout == "nothing was stored of it\n"
    assert "fwd=uri-miss" in outrigger.get("/page?a=b&c=%20").get("cache-status")
    assert json.loads(outrigger.ctl("--json", "purge", url).stdout)["purged"] is True
    assert outrigger.metric("outrigger_cache_purges_total") == 2, "those that found something"


@pytest.mark.parametrize("asked, purged, same", [
    ("/", "http://site.test", True), ("/", "http://site.test/", True), ("/a", "HTTP://SITE.test/a", True), ("/a", "http://site.test/a#part", True),
    ("/a", "http://site.test/a?", False), ("/a", "http://site.test/A", False), ("/a", "http://other.test/a", False), ("/a", "https://site.test/a", False),
    ("/a", "http://site.test:80/a", True), ("/a", "http://site.test:8080/a", False)])
def test_a_purged_url_means_what_clients_ask_for(outrigger, origin, asked, purged, same):
    origin.on("*", b"page")
    outrigger.get(asked)
    assert outrigger.ctl("purge", purged).stdout == ("purged\n" if same else "nothing was stored of it\n")


@pytest.mark.parametrize("url", ["/page", "site.test/page", "", "http://", "ftp://site.test/"])
def test_what_is_no_url_is_refused(outrigger, url):
    done = outrigger.ctl("purge", url, check=False)
    assert done.returncode == 1 and "outriggerctl: " in done.stderr and "http://host/path" in done.stderr


# ---- outriggerctl ----


def test_stats_for_people_and_for_programs(outrigger, origin):
    origin.on("/stored", b"stored")
    for _ in range(4):
        outrigger.get("/stored")
    outrigger.await_metric(4, "outrigger_requests_total")
    text = outrigger.ctl("stats").stdout
    assert re.search(r"^  all +4$", text, re.M) and re.search(r"^  hit ratio +75\.0 %$", text, re.M) and re.search(r"^  HIT +3$", text, re.M)
    stats = outrigger.stats()
    assert stats["requests"]["total"] == 4 and stats["requests"]["by_result"] == {"HIT": 3, "MISS": 1} and stats["hit_ratio"] == 0.75
    assert stats["latency"]["origin_first_byte"]["count"] == 1 and stats["gauges"]["cache_objects"] == 1


def test_sizing_for_people_and_for_programs(outrigger, origin):
    origin.on("*", b"stored" * 100)
    assert "nothing that can be stored was asked for" in outrigger.ctl("sizing").stdout
    for n in range(30):
        outrigger.get(f"/{n % 10}")
    text = outrigger.ctl("sizing").stdout
    assert re.search(r"^ +1 x +[0-9.]+ [KMG]iB +[0-9.]+ % \*", text, re.M) and "from 30 requests" in text and "disk" not in text
    sizing = json.loads(outrigger.ctl("--json", "sizing").stdout)
    assert sizing["requests"] == 30 and [point["times"] for point in sizing["memory"]] == [0.5, 1, 2, 4, 8] and sizing["disk"] is None
    assert all(0 <= point["hit_ratio"] <= 1 for point in sizing["memory"])
    assert b'outrigger_sizing_hit_ratio{tier="memory",times="0.5"}' in admin(outrigger, "/metrics").body


def test_what_is_asked_for_most(outrigger, origin):
    origin.on("/often", lambda request: request.answer(b"x" * 100, fields={"Cache-Tag": "news, front", "Cache-Control": "max-age=60"}))
    origin.on("/large", lambda request: request.answer(b"x" * 100000, fields=PASSED))
    for target in ["/often"] * 20 + ["/large?a=1"] * 3 + ["/none"]:
        outrigger.get(target)
    outrigger.await_metric(24, "outrigger_requests_total")
    top = json.loads(get(outrigger.socket, "/top", host="localhost").body)
    names = {(kind, measure): [(row["name"].split("//")[-1].split("/", 1)[-1], row["count"]) for row in rows] for kind, lists in top.items() for measure, rows in lists.items()}
    assert names["urls", "requests"] == [("often", 20), ("large?a=1", 3), ("none", 1)]
    assert names["urls", "bytes"][:2] == [("large?a=1", 300000), ("often", 2000)]
    assert names["urls", "misses"][0] == ("large?a=1", 3) and ("often", 1) in names["urls", "misses"]
    assert sorted(names["tags", "requests"]) == [("front", 20), ("news", 20)] and sorted(names["tags", "misses"]) == [("front", 1), ("news", 1)]
    assert names["statuses", "requests"] == [("200", 23), ("404", 1)]
    assert names["sites", "requests"][0][1] == 24


def test_the_socket_is_for_its_owner_and_group(outrigger):
    mode = os.stat(outrigger.socket).st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) & 0o007 == 0


@pytest.mark.parametrize("socket, words", [("/nowhere/admin.sock", "is outrigger running, and is admin.socket set?"), ("/dev/null", "/dev/null: "), ("x" * 200, "longer than the path")])
def test_no_socket_is_a_clear_message_and_exit_1(socket, words):
    done = subprocess.run([CONTROL, "--socket", socket, "stats"], capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == "" and done.stderr.startswith("outriggerctl: ") and words in done.stderr


def test_a_server_that_is_gone_is_a_clear_message_and_exit_1(outrigger):
    outrigger.process.kill()
    outrigger.process.wait()

    def refused():
        done = outrigger.ctl("stats", check=False)
        return done.returncode == 1 and "outrigger is not running" in done.stderr

    until(refused, what="the message")


@pytest.mark.parametrize("arguments, words", [([], "a command is missing"), (["stat"], "unknown command stat"), (["purge"], "purge takes one URL"), (["stats", "x"], "stats takes no arguments"),
                                              (["--sockt", "x", "stats"], "unknown option --sockt"), (["--socket"], "--socket needs a value"), (["reload", "now"], "takes no arguments")])
def test_unusable_arguments_are_exit_2(arguments, words):
    done = subprocess.run([CONTROL, *arguments], capture_output=True, text=True)
    assert done.returncode == 2 and words in done.stderr and done.stdout == ""


def test_help():
    done = subprocess.run([CONTROL, "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and all(word in done.stdout for word in ("stats", "purge", "reload", "--socket", "--json")) and done.stderr == ""


def test_reload_as_json(outrigger):
    assert json.loads(outrigger.ctl("--json", "reload").stdout) == {"accepted": True, "errors": ""}
    outrigger.write_config("wrong: true\n")
    done = outrigger.ctl("--json", "reload", check=False)
    answer = json.loads(done.stdout)
    assert done.returncode == 1 and answer["accepted"] is False and "error:" in answer["errors"]


@pytest.mark.threads
def test_many_at_the_socket_at_once(outrigger):
    results = []
    threads = [threading.Thread(target=lambda n=n: results.append(outrigger.ctl(("stats", "reload", "purge")[n % 3], *(["http://site.test/"] if n % 3 == 2 else [])).returncode))
               for n in range(18)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [0] * 18


# ---- drain and top ----


def test_drain_finishes_what_is_under_way_and_ends(outrigger, origin):
    go_on = threading.Event()
    origin.on("/slow", lambda request: (go_on.wait(30 * SLOW), request.answer(b"slow", fields=PASSED)))
    with outrigger.connect() as client:
        client.send("GET /slow HTTP/1.1\r\nHost: site.test\r\n\r\n")
        until(lambda: origin.requests, what="the request at the origin")
        assert json.loads(outrigger.ctl("--json", "drain").stdout) == {"draining": True}
        until(lambda: "draining" in outrigger.errors(), what="the drain to begin")
        go_on.set()
        assert client.read_until(b"slow")
    assert outrigger.process.wait(20 * SLOW) == 0


def test_top_prints_looks_where_there_is_no_terminal(outrigger, origin):
    origin.on("*", lambda request: request.answer(b"x", fields=PASSED))
    outrigger.get("/")
    outrigger.await_metric(1, "outrigger_requests_total")
    shown = outrigger.ctl("top", "--count", "2", "--interval", "0.1").stdout
    assert shown.count("requests ") >= 2 and "\033" not in shown and re.search(r"^result +MISS|^result +BYPASS", shown, re.M), shown
    lines = outrigger.ctl("--json", "top", "--count", "2", "--interval", "0.1").stdout.splitlines()
    assert len(lines) == 2 and all(json.loads(line)["requests"]["total"] == 1 for line in lines)


def test_top_takes_the_screen_and_gives_it_back(outrigger):
    control, terminal = os.openpty()
    process = subprocess.Popen([CONTROL, "--socket", outrigger.socket, "top", "--interval", "0.1"], stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    seen = b""
    while b"by rate" not in seen:
        seen += os.read(control, 4096)
    os.write(control, b"s")
    while b"by count" not in seen:
        seen += os.read(control, 4096)
    os.write(control, b"q")
    while b"\033[?1049l" not in seen:
        seen += os.read(control, 4096)
    assert process.wait(20 * SLOW) == 0
    os.close(control)
    assert seen.startswith(b"\033[?1049h") and b"requests" in seen


def test_top_says_when_there_is_nobody_to_ask(outrigger):
    done = subprocess.run([CONTROL, "--socket", "/nowhere/admin.sock", "top", "--count", "1"], capture_output=True, text=True, timeout=20 * SLOW)
    assert done.returncode == 1 and "/nowhere/admin.sock" in done.stderr


@pytest.mark.parametrize("arguments", [("top", "--count", "x"), ("top", "--interval", "0"), ("stats", "--count", "1"), ("drain", "now")])
def test_unusable_arguments_of_top_and_drain(outrigger, arguments):
    assert outrigger.ctl(*arguments, check=False).returncode == 2
