"""Logs: what a line says, that it is one line whatever a client sends, and that no log target ever slows a request."""
import datetime
import json
import os
import re
import signal
import socket
import stat
import struct
import threading

import pytest

from harness.http import Truncated
from harness.load import Load
from harness.origin import CloseConnection
from harness.outrigger import SLOW
from harness.poll import until
from harness.ports import free_port

PASSED = {"Cache-Control": "no-store"}
COMBINED = re.compile(
    r'(?P<client>\S+) - - \[(?P<time>\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000)\] "(?P<request>(?:[^"\\]|\\x[0-9a-fA-F]{2})*)" (?P<status>\d{3}) (?P<bytes>\d+) '
    r'"(?P<referer>(?:[^"\\]|\\x[0-9a-fA-F]{2})*)" "(?P<agent>(?:[^"\\]|\\x[0-9a-fA-F]{2})*)" (?P<word>\S+) (?P<reason>\S+) (?P<seconds>\d+\.\d{6}) (?P<host>\S+)')


def parsed(outrigger, count):
    """The first `count` lines, each of which has the form."""
    matches = [(line, COMBINED.fullmatch(line)) for line in outrigger.await_access_lines(count)[:count]]
    assert all(match for _, match in matches), [line for line, match in matches if not match]
    return [match for _, match in matches]


@pytest.fixture
def json_log(make_outrigger, origin):
    return make_outrigger(origin=origin.url, config={"access_log": {"format": "json"}})


def json_lines(outrigger, count):
    return until(lambda: len(found := [json.loads(line) for line in outrigger.access_lines()]) >= count and found, what=f"{count} lines")


# ---- the access log ----


def test_a_line_in_the_combined_format(outrigger, origin):
    origin.on("/page", b"twelve bytes")
    before = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    outrigger.get("/page?q=1", fields={"Referer": "http://from.test/", "User-Agent": "Browser/1.0 (a test)"})
    (line,) = parsed(outrigger, 1)
    assert line["client"] == "127.0.0.1" and line["host"] == "site.test"
    assert line["request"] == "GET /page?q=1 HTTP/1.1" and line["status"] == "200" and line["bytes"] == "12"
    assert line["referer"] == "http://from.test/" and line["agent"] == "Browser/1.0 (a test)"
    assert line["word"] == "MISS" and line["reason"] == "-" and 0 < float(line["seconds"]) < 60
    time = datetime.datetime.strptime(line["time"], "%d/%b/%Y:%H:%M:%S %z")
    assert before <= time <= datetime.datetime.now(datetime.timezone.utc)


def test_what_is_missing_is_a_dash(outrigger, origin):
    origin.on("/", b"")
    outrigger.get("/")
    (line,) = parsed(outrigger, 1)
    assert (line["referer"], line["agent"], line["bytes"]) == ("-", "-", "0")


def test_the_words_for_what_the_cache_did(outrigger, origin):
    origin.on("/stored", b"stored")
    origin.on("/passed", lambda request: request.answer(b"passed", fields=PASSED))
    origin.on("/checked", lambda request: request.answer(status="304 Not Modified", length=False) if request.get("if-none-match")
              else request.answer(b"checked", fields={"Cache-Control": "no-cache", "ETag": '"1"'}))
    expected = [("/stored", "MISS"), ("/stored", "HIT"), ("/passed", "MISS"), ("/checked", "MISS"), ("/checked", "REVALIDATED")]
    for n, (target, _) in enumerate(expected, 1):
        outrigger.get(target)
        outrigger.await_access_lines(n)
    outrigger.get("/stored", method="POST", body=b"x")
    outrigger.await_access_lines(6)
    outrigger.get("/stored", host="")
    lines = parsed(outrigger, 7)
    assert [(line["request"].split()[1], line["word"]) for line in lines[:5]] == expected
    assert lines[2]["reason"] == "no-store"
    assert lines[5]["word"] == "BYPASS" and lines[5]["reason"] == "method"
    assert lines[6]["word"] == "-" and lines[6]["status"] == "400" and lines[6]["reason"] == "bad-host"


def test_the_bytes_are_those_of_the_body_that_was_sent(outrigger, origin):
    origin.on("/stored", b"x" * 1000)
    outrigger.get("/stored")
    outrigger.get("/stored", method="HEAD")
    outrigger.get("/stored", fields={"Range": "bytes=0-9"})
    lines = parsed(outrigger, 3)
    assert sorted((line["status"], line["bytes"]) for line in lines) == [("200", "0"), ("200", "1000"), ("206", "10")]


def test_a_client_that_went_away_is_499(outrigger, origin):
    arrived, go_on = threading.Event(), threading.Event()

    def wait(request):
        arrived.set()
        go_on.wait(30 * SLOW)
        raise CloseConnection

    origin.on("/wait", wait)
    with outrigger.connect() as client:
        client.send("GET /wait HTTP/1.1\r\nHost: site.test\r\n\r\n")
        assert arrived.wait(20 * SLOW)
        # A reset: a mere FIN might mean that it only has nothing more to send.
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    (line,) = parsed(outrigger, 1)
    go_on.set()
    assert line["status"] == "499" and line["reason"] == "client-closed"


def test_control_bytes_and_quotes_are_escaped(outrigger, origin):
    origin.on("*", b"ok")
    with outrigger.connect() as client:
        client.send(b'GET /"quoted"\\ HTTP/1.1\r\nHost: site.test\r\nUser-Agent: a"b\\c\x80\xff\td\r\nReferer: \x1b\r\n\r\n')
        client.read_to_end() if client.head().status == 400 else None
    outrigger.get("/after", fields={"User-Agent": 'fake" 200 5 "-" "-" HIT', "Referer": "tab\there"})
    lines = parsed(outrigger, 2)
    raw = outrigger.access_log.read_bytes()
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", raw)
    assert len(raw.splitlines()) == 2
    (after,) = [line for line in lines if line["request"] == "GET /after HTTP/1.1"]  # two loops: in any order
    assert '\\x22 200 5' in after["agent"] and "\\x09" in after["referer"]


def test_a_very_long_line_is_cut_and_stays_one_line(make_outrigger, origin):
    outrigger = make_outrigger(origin=origin.url, config={"limits": {"header_bytes": "64KiB", "url_bytes": "32KiB"}})
    origin.on("*", b"ok")
    assert outrigger.get("/" + "u" * 20000, fields={"User-Agent": "a" * 20000, "Referer": "r" * 100}).status == 200
    (line,) = parsed(outrigger, 1)
    assert len(outrigger.access_log.read_bytes()) <= 4096
    assert line["request"].startswith("GET /uuuu") and line["agent"].startswith("aaaa") and line["referer"] == "r" * 100 and line["status"] == "200"


def test_json_lines_are_json(json_log, origin):
    origin.on("/page", b"body")
    json_log.get('/page?"quoted"', fields={"User-Agent": 'a "b" \\c \x80\xff', "Referer": "tab\there"})
    (first,) = json_lines(json_log, 1)
    json_log.get("/page", fields={"Connection": "close"})
    second = json_lines(json_log, 2)[1]
    assert first["client"] == "127.0.0.1" and first["method"] == "GET" and first["target"] == '/page?"quoted"' and first["protocol"] == "HTTP/1.1"
    assert first["status"] == 200 and first["bytes"] == 4 and first["cache"] == "MISS" and first["host"] == "site.test"
    assert first["user_agent"].startswith('a "b" \\c ') and first["referer"] == "tab\there"
    assert first["origin"] == f"127.0.0.1:{origin.port}" and first["duration"] > 0
    assert second["referer"] is None and second["user_agent"] is None
    datetime.datetime.strptime(first["time"], "%Y-%m-%dT%H:%M:%SZ")


def test_every_byte_a_client_may_send_keeps_json_valid(json_log, origin):
    origin.on("*", b"ok")
    with json_log.connect() as client:
        for byte in [b for b in range(1, 256) if b not in b"\r\n"]:
            client.send(b"GET /%d HTTP/1.1\r\nHost: site.test\r\nUser-Agent: <" % byte + bytes([byte]) + b">\r\n\r\n")
            try:
                if client.response().get("connection") == "close":
                    raise Truncated
            except Truncated:
                client.close()
                client.__init__(json_log.port)
    lines = json_lines(json_log, 253)
    agents = {line["target"]: line["user_agent"] for line in lines if line["status"] == 200}
    assert agents["/34"] == '<">' and agents["/92"] == "<\\>" and agents["/9"] == "<\t>" and len(agents) > 200


def test_no_access_log_when_it_is_off(make_outrigger, origin):
    origin.on("*", b"ok")
    outrigger = make_outrigger(origin=origin.url, config={"access_log": "off"})
    assert outrigger.get("/").status == 200
    outrigger.stop()
    assert not outrigger.access_log.exists()


def test_a_dash_is_standard_output_and_standard_error(make_outrigger, origin):
    origin.on("*", b"ok")
    outrigger = make_outrigger(origin=origin.url, config={"access_log": "-", "error_log": "-"})
    assert outrigger.get("/to-the-terminal").status == 200
    until(lambda: '"GET /to-the-terminal HTTP/1.1" 200' in outrigger.output_text(), what="the line on standard output")
    assert "listening on" in outrigger.output_text()


def test_log_files_are_not_for_everybody_to_read(outrigger):
    outrigger.get("/")
    outrigger.await_access_lines(1)
    assert stat.S_IMODE(outrigger.access_log.stat().st_mode) & 0o007 == 0


# ---- rotation ----


def test_usr1_opens_the_files_anew_and_no_line_is_lost(outrigger, origin):
    origin.on("/stored", b"stored")
    rotated = []
    with Load(outrigger, {"/stored": b"stored"}) as load:
        for n in range(5):
            goal = load.count + 100
            until(lambda: load.count >= goal or load.failures, timeout=60 * SLOW, what="requests")
            rotated.append(outrigger.access_log.with_suffix(f".{n}"))
            outrigger.access_log.rename(rotated[-1])
            outrigger.send_signal(signal.SIGUSR1)
            until(lambda: outrigger.access_log.exists() and outrigger.access_log.stat().st_size > 0, what="lines in the new file")
        load.end()
        assert not load.failures
    until(lambda: sum(len(path.read_text().splitlines()) for path in [*rotated, outrigger.access_log]) == load.count, what="every line in one of the files")
    for path in [*rotated, outrigger.access_log]:
        assert all(COMBINED.fullmatch(line) for line in path.read_text().splitlines()), path


def test_a_log_that_cannot_be_opened_again_leaves_the_old_one(outrigger, origin):
    origin.on("*", b"ok")
    outrigger.get("/1")
    outrigger.await_access_lines(1)
    moved = outrigger.access_log.with_suffix(".1")
    outrigger.access_log.rename(moved)
    outrigger.access_log.mkdir()
    outrigger.send_signal(signal.SIGUSR1)
    until(lambda: f"access_log {outrigger.access_log}: Is a directory" in outrigger.errors(), what="the reason in the error log")
    outrigger.get("/2")
    until(lambda: '"GET /2 ' in moved.read_text(), what="the line in the old file")


# ---- targets that are full or hang ----


@pytest.fixture
def with_fifo(make_outrigger, origin, tmp_path):
    """The access log is a FIFO whose reader never reads."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    origin.on("/stored", b"stored")
    yield make_outrigger(origin=origin.url, config={"access_log": str(fifo)}), reader
    os.close(reader)


@pytest.mark.threads
def test_a_log_target_that_hangs_slows_no_request_and_what_is_dropped_is_counted(with_fifo):
    outrigger, reader = with_fifo
    wide = {f"/stored?{n:02}{'w' * 3000}": b"stored" for n in range(4)}
    with Load(outrigger, wide) as load:
        until(lambda: outrigger.metric("outrigger_log_lines_dropped_total") > 100 or load.failures, timeout=60 * SLOW, what="lines to be dropped")
        goal = load.count + 500
        until(lambda: load.count >= goal or load.failures, timeout=60 * SLOW, what="requests after that")
        load.end()
        assert not load.failures


def test_an_access_log_that_hangs_does_not_hold_up_the_error_log(with_fifo, origin):
    outrigger, reader = with_fifo

    def close(request):
        raise CloseConnection

    origin.on("/closed", close)
    for n in range(40):  # more than a pipe holds
        assert outrigger.get(f"/stored?{n}{'w' * 3000}").status == 200
        outrigger.get("/closed", fields={"User-Agent": "a" * 3000})
    until(lambda: outrigger.errors().count(" request: origin closed the connection without an answer") == 40, what="every line of the error log")


def test_a_log_target_that_recovers_gets_lines_again(with_fifo):
    outrigger, reader = with_fifo
    outrigger.get("/stored")
    os.set_blocking(reader, True)
    assert b'"GET /stored ' in os.read(reader, 65536)


def test_a_full_log_disk_slows_no_request_and_is_reported(make_outrigger, origin):
    origin.on("/stored", b"stored")
    outrigger = make_outrigger(origin=origin.url, config={"access_log": "/dev/full"})
    with Load(outrigger, {"/stored": b"stored"}) as load:
        goal = 500
        until(lambda: load.count >= goal or load.failures, timeout=60 * SLOW, what="requests")
        load.end()
        assert not load.failures
    until(lambda: "access log /dev/full: No space left on device" in outrigger.errors() + outrigger.output_text(), what="the report")


def test_a_log_that_cannot_be_opened_is_an_error_at_the_start(make_outrigger, origin):
    outrigger = make_outrigger(origin=origin.url, config={"access_log": "/nowhere/access.log"}, wait=False)
    assert outrigger.process.wait(20 * SLOW) == 1
    assert "access_log /nowhere/access.log: No such file or directory" in outrigger.output_text()


# ---- the error log ----


def test_an_error_line_says_when_who_where_and_why(make_outrigger):
    outrigger = make_outrigger(origin=f"http://127.0.0.1:{free_port()}")
    outrigger.get("/page?x=1", host="shop.test")
    line = until(lambda: [line for line in outrigger.errors().splitlines() if "request: origin refused the connection" in line], what="the line")[0]
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warn proxy\[\d+\] request: ", line)
    for part in ("client 127.0.0.1", 'host "shop.test"', '"GET /page?x=1"', "answered 502"):
        assert part in line


def test_a_cause_is_one_line_a_request(make_outrigger):
    outrigger = make_outrigger(origin=f"http://127.0.0.1:{free_port()}", site={"down": 0})
    for n in range(5):
        outrigger.get(f"/{n}")
    outrigger.await_access_lines(5)
    until(lambda: len([line for line in outrigger.errors().splitlines() if " request: " in line]) == 5, what="five lines")


def test_nothing_a_client_or_an_origin_sends_forges_an_error_line(outrigger, origin):
    def forge(request):
        request.send(b"HTTP/1.1 200 OK\r\nX: a\nb: \x1b[31m2026-01-01T00:00:00.000Z error forged\r\n\r\n")
        raise CloseConnection

    origin.on("/forge", forge)
    assert outrigger.get("/forge", fields={"User-Agent": "x"}).status == 502
    with outrigger.connect() as client:
        client.send(b"GET /a\x0bb\x1b HTTP/1.1\r\nHost: site.test\r\n\r\n")
        client.read_to_end()
    until(lambda: outrigger.errors().count(" request: ") >= 2, what="both lines")
    raw = outrigger.error_log.read_bytes()
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", raw)
    assert all(re.match(r"\d{4}-\d\d-\d\dT", line) for line in outrigger.errors().splitlines())


def test_the_level_is_heeded_and_changes_with_a_reload(make_outrigger, origin):
    outrigger = make_outrigger(config={"sites": [{"hosts": ["*"], "origin": f"http://127.0.0.1:{free_port()}"}]})
    outrigger.get("/first")
    until(lambda: "/first" in outrigger.errors(), what="the warning")
    outrigger.config["error_log"] = {"path": str(outrigger.error_log), "level": "error"}
    outrigger.write_config()
    outrigger.ctl("reload")
    outrigger.get("/second")
    outrigger.await_access_lines(2)
    outrigger.stop()
    assert "/second" not in outrigger.errors()


# ---- one request in several logs ----

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_request_has_one_id_here_and_at_the_origin(json_log, origin):
    origin.on("*", lambda request: request.answer(b"x", fields={"Cache-Control": "max-age=60"}))
    json_log.get("/made"), json_log.get("/kept", fields={"X-Request-Id": "abc-1.2_3"}), json_log.get("/kept", fields={"X-Request-Id": "of-a-hit"}), json_log.get("/made")
    lines = json_lines(json_log, 4)
    made, kept = (request.get("X-Request-Id") for request in origin.requests)
    assert re.fullmatch("[0-9a-f]{32}", made) and kept == "abc-1.2_3"
    assert sorted(str(line.get("request_id")) for line in lines) == sorted([made, kept, "of-a-hit", "None"]), "a hit that came without has none"


@pytest.mark.parametrize("fields", [[("X-Request-Id", "a b")], [("X-Request-Id", "x" * 65)], [("X-Request-Id", '"><script>')], [("X_Request_Id", "other")],
                                    [("X-Request-Id", "one"), ("X-Request-Id", "two")]], ids=["space", "long", "markup", "underscore", "two"])
def test_an_origin_sees_one_id_that_can_stand_in_a_log(json_log, origin, fields):
    origin.on("*", lambda request: request.answer(b"x", fields=PASSED))
    json_log.get("/", fields=fields)
    (line,) = json_lines(json_log, 1)
    (request,) = origin.requests
    ids = [value for name, value in request.fields if name.lower().replace("_", "-") == "x-request-id"]
    assert len(ids) == 1 and re.fullmatch(r"[-._~+/=:@A-Za-z0-9]{1,64}", ids[0]) and line["request_id"] == ids[0]


def test_ids_are_made_once_only(json_log, origin):
    origin.on("*", lambda request: request.answer(b"x", fields=PASSED))
    for i in range(20):
        json_log.get(f"/{i}")
    assert len({request.get("X-Request-Id") for request in origin.requests}) == 20


def test_traceparent_is_passed_on_and_logged(json_log, origin):
    origin.on("*", lambda request: request.answer(b"x", fields=PASSED))
    json_log.get("/", fields={"traceparent": TRACE, "tracestate": "a=b"})
    (line,) = json_lines(json_log, 1)
    assert line["traceparent"] == TRACE
    assert origin.requests[0].get("traceparent") == TRACE and origin.requests[0].get("tracestate") == "a=b"


def test_the_error_log_names_the_request_and_does_not_repeat_a_cause_without_end(make_outrigger):
    outrigger = make_outrigger(origin=f"http://127.0.0.1:{free_port()}", config={"workers": 1})
    count = 400
    with outrigger.connect() as client:
        for i in range(count):
            assert client.request("/", fields={"X-Request-Id": f"id-{i}"}).status in (502, 503)
    until(lambda: "request id-99\n" in outrigger.errors(), what="the first lines, with their requests")

    def all_are_told_or_counted():
        outrigger.get("/")
        return outrigger.errors().count(", answered 50") >= count or "more within a second" in outrigger.errors()

    until(all_are_told_or_counted, what="a line for each, or the number of those without one")
