"""The command line: what it says, what it refuses, and the ways to be started: with a file, without one, by a service manager."""
import os
import re
import signal
import socket
import subprocess
import sys

import pytest
import yaml

from harness.http import get
from harness.outrigger import BINARY, CONTROL, SLOW, Outrigger
from harness.poll import until

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GOOD = "sites:\n  - hosts: ['*']\n    origin: http://127.0.0.1:3000\n"


def run(*arguments, **options):
    return subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=30 * SLOW, stdin=subprocess.DEVNULL, **options)


@pytest.fixture
def write(tmp_path):
    def write(text):
        (tmp_path / "test.yaml").write_text(text)
        return tmp_path / "test.yaml"

    return write


# ---- saying ----


def test_help_names_every_option():
    for option in ("-h", "--help"):
        done = run(option)
        assert done.returncode == 0 and done.stderr == ""
        for word in ("-c FILE", "-t", "-T", "-s SIGNAL", "--origin", "--listen", "--demo", "--pid-file", "-V", "HUP", "USR1"):
            assert word in done.stdout, word


@pytest.mark.parametrize("program, page, help_option", [("outrigger", "outrigger.8", "-h"), ("outriggerctl", "outriggerctl.1", "--help")])
def test_what_the_shell_completes_is_in_the_help_and_in_the_manual(program, page, help_option):
    completion = open(f"{REPOSITORY}/packaging/completion/{program}").read()
    words = set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", " ".join(re.findall(r'-W "([^"]*)"', completion))))
    commands = re.search(r'local commands="([^"]*)"', completion)
    shown = subprocess.run([{"outrigger": BINARY, "outriggerctl": CONTROL}[program], help_option], capture_output=True, text=True, timeout=20 * SLOW).stdout
    manual = open(f"{REPOSITORY}/docs/{page}").read()
    assert len(words) > 8
    for word in words - {"--help", "--version"}:
        assert re.search(rf"(?<![\w-]){word}(?![\w-])", shown), f"{word}: not in {help_option}"
        assert re.search(rf"Fl {word[1:]}(?![\w-])", manual), f"{word}: not in {page}"
    for word in commands[1].split() if commands else []:
        assert re.search(rf"^  {word} ", shown, re.M), f"{word}: not in {help_option}"
        assert re.search(rf"^\.It Cm {word}\b", manual, re.M), f"{word}: not in {page}"


def test_version_and_build():
    done = run("-V")
    assert done.returncode == 0 and re.match(r"outrigger \d+\.\d+\.\d+\n", done.stdout) and "libuv" in done.stdout and done.stderr == ""


@pytest.mark.parametrize("arguments, words", [
    (["--orgin", "x"], "unknown option --orgin"), (["-x"], "unknown option -x"), (["-c"], "-c needs a value"), (["--listen"], "--listen needs a value"),
    (["file.yaml"], 'unexpected argument "file.yaml"'), (["-s", "restart"], "expected reload, stop, quit, reopen or upgrade"), (["-t", "-T"], "only one of"),
    (["-c", "x", "--origin", "http://x"], "--origin and --listen are for running without a file"), (["--role=proxy", "--number=0", "--log-level=info"], "unknown option --role=proxy"),
])
def test_unusable_options_are_exit_2(arguments, words):
    done = run(*arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("outrigger: ") and words in done.stderr and "outrigger -h lists the options" in done.stderr


# ---- the configuration ----


def test_a_good_configuration_is_valid(write):
    path = write(GOOD)
    done = run("-t", "-c", path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"configuration {path} is valid\n", "")


def test_all_mistakes_are_told_at_once_with_place_line_caret_and_hint(write):
    path = write("workers: 0\nlisten:\n  - adress: 127.0.0.1:8080\ncache: {memory: 10XB}\nsites:\n  - hosts: ['*']\n    orgin: http://x\n")
    done = run("-t", "-c", path)
    assert done.returncode == 1 and done.stdout == ""
    lines = done.stderr.splitlines()
    expected = {
        "1:10": ("too small", "workers: 0"), "3:5": ('unknown key "adress"; did you mean "address"?', "- adress: 127.0.0.1:8080"),
        "4:17": ("unknown unit", "cache: {memory: 10XB}"), "6:5": ('no "origin"', "- hosts: ['*']"), "7:5": ('unknown key "orgin"; did you mean "origin"?', "orgin: http://x"),
    }
    found = {}
    for at, line in enumerate(lines):
        if match := re.match(re.escape(str(path)) + r":(\d+):(\d+): error: (.*)", line):
            found[f"{match[1]}:{match[2]}"] = (match[3], lines[at + 1], lines[at + 2])
    assert found.keys() == expected.keys()
    for place, (words, source) in expected.items():
        message, line, caret = found[place]
        assert words in message and line.strip() == source
        assert caret.index("^") - 4 == int(place.split(":")[1]) - 1, "the caret stands under the column"


def test_a_syntax_error_has_its_place(write):
    path = write("sites:\n  - hosts: [a\n    origin: x\n")
    done = run("-t", "-c", path)
    assert done.returncode == 1 and re.search(re.escape(str(path)) + r":\d+:\d+: error: ", done.stderr)


def test_a_file_that_is_not_there_is_an_error():
    done = run("-t", "-c", "/nowhere/outrigger.yaml")
    assert done.returncode == 1 and "/nowhere/outrigger.yaml" in done.stderr and "No such file or directory" in done.stderr


def test_the_effective_configuration_has_everything_and_means_the_same(write, tmp_path):
    path = write("workers: 3\nlisten: [':8080', '[::1]:8081']\n" + GOOD)
    done = run("-T", "-c", path)
    assert done.returncode == 0 and done.stderr == ""
    config = yaml.safe_load(done.stdout)
    assert config["workers"] == 3 and [entry["address"] for entry in config["listen"]] == [":8080", "[::1]:8081"]
    assert config["timeouts"]["keep_alive"] == "65s" and config["sites"][0]["retries"] == 2 and config["cache"]["memory"] == "256MiB"
    again = tmp_path / "again.yaml"
    again.write_text(done.stdout)
    without_sources = re.compile(r" +# .*")
    assert without_sources.sub("", run("-T", "-c", again).stdout) == without_sources.sub("", done.stdout)


def test_the_effective_configuration_says_where_each_value_comes_from(write):
    path = write("workers: 3\n" + GOOD)
    lines = run("-T", "-c", path).stdout.splitlines()
    assert re.fullmatch(r"workers: 3 +# " + re.escape(str(path)) + ":1", lines[0])
    assert any(re.fullmatch(r" +origin: \[.*\] +# " + re.escape(str(path)) + ":4", line) for line in lines)
    assert any(re.fullmatch(r" +retries: 2 +# default", line) for line in lines)
    without_file = run("-T", "--origin", "http://127.0.0.1:3000").stdout
    assert re.search(r"origin: \[.*\] +# command line$", without_file, re.M)


def test_what_is_dangerous_is_warned_of_with_place_and_reason(write):
    path = write(GOOD + "    purge: {allow: [0.0.0.0/0]}\n    cache: {store_set_cookie: true}\n")
    done = run("-t", "-c", path)
    assert done.returncode == 0 and done.stdout == f"configuration {path} is valid\n"
    assert f"{path}:4:21: warning: purge.allow: 0.0.0.0/0 is open to the world" in done.stderr and "hint: " in done.stderr
    assert f"{path}:5:31: warning: cache.store_set_cookie: " in done.stderr


def test_the_sample_configuration_is_valid(write, tmp_path):
    with open(os.path.join(REPOSITORY, "conf", "outrigger.yaml")) as file:
        done = run("-t", "-c", write(file.read().replace("/var/log/outrigger", str(tmp_path))))
    assert done.returncode == 0, done.stderr


LOGS_THAT_CANNOT_BE_WRITTEN = {
    # the path: what is said of it, the hint
    "{directory}/typo/access.log": ("{directory}/typo: No such file or directory", "make the directory, or correct the path"),
    "{directory}/typo/and/more/access.log": ("{directory}/typo/and/more: No such file or directory", "make the directory, or correct the path"),
    "{directory}/logs": ("Is a directory", "name a file in it"),
    "{directory}/file/access.log": ("Not a directory", "correct the path"),
    "{directory}/socket": ("No such device or address", "correct the path"),
}


@pytest.mark.parametrize("path", LOGS_THAT_CANNOT_BE_WRITTEN)
@pytest.mark.parametrize("log, column", [("access_log: ", 13), ("error_log: ", 12), ("access_log: {format: json, path: ", 34)])
def test_a_log_that_cannot_be_written_is_a_mistake(write, tmp_path, log, column, path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "file").write_text("")
    socket.socket(socket.AF_UNIX).bind(str(tmp_path / "socket"))
    words, hint = (text.format(directory=tmp_path) for text in LOGS_THAT_CANNOT_BE_WRITTEN[path])
    path = path.format(directory=tmp_path)
    config = write(f"{GOOD}{log}{path}{'}' if '{' in log else ''}\n")
    before = sorted(tmp_path.rglob("*"))
    done = run("-t", "-c", config)
    assert done.returncode == 1 and done.stdout == ""
    assert f"{config}:4:{column}: error: {log.split(':')[0]}.path: {path} cannot be written: {words}" in done.stderr and f"hint: {hint}" in done.stderr, done.stderr
    assert sorted(tmp_path.rglob("*")) == before
    started = run("-c", config, "--pid-file", tmp_path / "pid")
    assert started.returncode == 1 and path in started.stderr, "what -t calls a mistake does not start"


def test_both_logs_and_other_mistakes_are_told_at_once(write, tmp_path):
    config = write(f"{GOOD}    origin_tls: {{ca: {tmp_path}/none.pem}}\naccess_log: {tmp_path}/a/log\nerror_log: {tmp_path}/b/log\n")
    done = run("-t", "-c", config)
    assert done.returncode == 1 and [f":{line}:" in done.stderr for line in (4, 5, 6)] == [True] * 3 and done.stderr.count("error: ") == 3, done.stderr


def test_a_log_that_can_be_written_is_left_as_it_is(write, tmp_path):
    (tmp_path / "old.log").write_text("lines\n")
    (tmp_path / "link").symlink_to(tmp_path / "later.log")
    os.mkfifo(tmp_path / "fifo")
    for path in tmp_path / "new.log", tmp_path / "old.log", tmp_path / "link", tmp_path / "fifo", "/dev/null", "/dev/full", "'-'", "off":
        config = write(f"{GOOD}access_log: {path}\n")
        before = sorted(tmp_path.rglob("*"))
        done = run("-t", "-c", config)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "old.log").read_text() == "lines\n"


def test_a_wrong_configuration_does_not_start(write):
    done = run("-c", write("sites: 5\n"))
    assert done.returncode == 1 and ":1:8: error: " in done.stderr


def test_without_a_file_mistakes_are_told_too():
    done = run("-t", "--origin", "htp://x", "--listen", "nowhere")
    assert done.returncode == 1 and done.stderr.count("command line:") == 2 and "htp://x" in done.stderr and "nowhere" in done.stderr


# ---- starting ----


def test_an_address_in_use_is_a_clear_message(make_outrigger, origin):
    outrigger = make_outrigger(config={"listen": [{"address": f"127.0.0.1:{origin.port}"}]}, wait=False)
    assert outrigger.process.wait(20 * SLOW) == 1
    assert f"listen 127.0.0.1:{origin.port}: Address already in use (another server listens there)" in outrigger.output_text()


def test_an_address_that_is_not_ours_is_a_clear_message(make_outrigger):
    outrigger = make_outrigger(config={"listen": [{"address": "192.0.2.1:8080"}]}, wait=False)
    assert outrigger.process.wait(20 * SLOW) == 1
    assert "listen 192.0.2.1:8080: Cannot assign requested address" in outrigger.output_text()


def test_every_address_in_use_is_told_at_once(make_outrigger, make_origin):
    ports = [make_origin().port for _ in range(2)]
    outrigger = make_outrigger(config={"listen": [{"address": f"127.0.0.1:{port}"} for port in ports]}, wait=False)
    assert outrigger.process.wait(20 * SLOW) == 1
    assert all(f"listen 127.0.0.1:{port}: " in outrigger.output_text() for port in ports)


def test_a_socket_of_a_server_that_was_killed_is_replaced_and_one_in_use_is_not(make_outrigger, origin, tmp_path):
    first = make_outrigger(origin=origin.url)
    second = make_outrigger(origin=origin.url, config={"admin": {"socket": first.socket}}, wait=False)
    assert second.process.wait(20 * SLOW) == 1
    assert f"listen {first.socket}: Address already in use" in second.output_text()
    assert first.ctl("stats").returncode == 0
    first.process.kill()
    first.process.wait()
    third = make_outrigger(origin=origin.url, config={"admin": {"socket": first.socket}})
    assert first.ctl("stats").returncode == 0
    third.stop()


def test_a_file_in_place_of_the_socket_stays(make_outrigger, origin, tmp_path):
    (tmp_path / "precious").write_text("data")
    outrigger = make_outrigger(origin=origin.url, config={"admin": {"socket": str(tmp_path / "precious")}}, wait=False)
    assert outrigger.process.wait(20 * SLOW) == 1
    assert (tmp_path / "precious").read_text() == "data" and "the file is in the way" in outrigger.output_text()


def test_closed_standard_streams_do_no_harm(make_outrigger, origin, tmp_path):
    """Descriptors 0 to 2 must not become a socket or a log that somebody then writes errors to."""
    origin.on("/", b"fine")
    outrigger = make_outrigger(origin=origin.url)
    outrigger.stop()
    outrigger.write_config()
    process = subprocess.Popen(["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", BINARY, "-c", str(outrigger.config_path)])

    def answers():
        try:
            return outrigger.get("/").body == b"fine"
        except OSError:
            return False

    until(answers, timeout=20 * SLOW, what="the server")
    process.terminate()
    assert process.wait(20 * SLOW) == 0


# ---- telling the running one ----


def tell(outrigger, word):
    return run("--pid-file", outrigger.directory / "pid", "-s", word)


def test_s_tells_the_running_supervisor(make_outrigger, make_origin):
    old, new = make_origin(), make_origin()
    old.on("*", lambda request: request.answer(b"old", fields={"Cache-Control": "no-store"}))
    new.on("*", lambda request: request.answer(b"new", fields={"Cache-Control": "no-store"}))
    outrigger = make_outrigger(origin=old.url)
    assert int((outrigger.directory / "pid").read_text()) == outrigger.process.pid
    outrigger.config["sites"][0]["origin"] = new.url
    outrigger.write_config()
    assert tell(outrigger, "reload").returncode == 0
    until(lambda: outrigger.get("/").body == b"new", what="the reload")
    outrigger.await_access_lines(1)
    outrigger.access_log.rename(outrigger.access_log.with_suffix(".1"))
    assert tell(outrigger, "reopen").returncode == 0
    until(lambda: outrigger.access_log.exists(), what="the new log")
    assert tell(outrigger, "stop").returncode == 0
    assert outrigger.process.wait(20 * SLOW) == 0
    done = tell(outrigger, "stop")
    assert done.returncode == 1 and f"pid file {outrigger.directory / 'pid'}: No such file or directory" in done.stderr


def test_s_quit_drains(outrigger):
    assert tell(outrigger, "quit").returncode == 0
    assert outrigger.process.wait(20 * SLOW) == 0
    assert "draining" in outrigger.errors()


def test_a_pid_file_of_a_server_that_was_killed_signals_nobody(outrigger):
    outrigger.process.kill()
    outrigger.process.wait()
    assert (outrigger.directory / "pid").exists()
    done = tell(outrigger, "stop")
    assert done.returncode == 1 and "no running supervisor holds it" in done.stderr


def test_a_pid_file_in_use_refuses_the_start(make_outrigger, origin):
    first = make_outrigger(origin=origin.url)
    done = run("-c", first.config_path, "--pid-file", first.directory / "pid")
    assert done.returncode == 1 and f"process {first.process.pid} is running with it" in done.stderr
    assert int((first.directory / "pid").read_text()) == first.process.pid


# ---- service managers ----

ADOPT = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[1], sys.argv[1:])
"""


class Activated(Outrigger):
    """Started as systemd does it: with listening sockets from descriptor 3 on."""

    def __init__(self, directory, sockets, **options):
        self.sockets = sockets
        super().__init__(directory, environment={"LISTEN_FDS": str(len(sockets))}, pass_fds=range(3, 3 + len(sockets)), **options)

    def command(self):
        return [sys.executable, "-c", ADOPT, *super().command()]

    def before_exec(self):
        copies = [os.dup(s.fileno()) for s in self.sockets]  # none of them is overwritten below
        high = [os.dup2(fd, 100 + n) for n, fd in enumerate(copies)]
        for n, fd in enumerate(high):
            os.dup2(fd, 3 + n)


@pytest.fixture
def activate(tmp_path):
    started = []

    def activate(sockets, **options):
        directory = tmp_path / "activated"
        directory.mkdir()
        started.append(Activated(directory, sockets, **options))
        return started[-1]

    yield activate
    for outrigger in started:
        outrigger.stop()


def test_sockets_that_are_passed_are_used(activate, origin):
    """A client that connected before the server was started is served: the socket is the very one."""
    origin.on("/", b"by activation")
    with socket.create_server(("127.0.0.1", 0)) as passed, socket.create_server(("127.0.0.1", 0)) as stranger:
        port = passed.getsockname()[1]
        early = socket.create_connection(("127.0.0.1", port))
        early.sendall(b"GET / HTTP/1.0\r\nHost: site.test\r\n\r\n")
        outrigger = activate([stranger, passed], origin=origin.url, config={"listen": [{"address": f"127.0.0.1:{port}"}]})
        strange_port = stranger.getsockname()[1]
    early.settimeout(20 * SLOW)
    assert early.recv(1000).startswith(b"HTTP/1.1 200 OK")
    early.close()
    assert get(port).body == b"by activation"
    until(lambda: "has no address of the configuration: closed" in outrigger.output_text() + outrigger.errors(), what="the warning about the other socket")
    with pytest.raises(ConnectionRefusedError):
        get(strange_port)


def test_a_dual_stack_socket_stands_for_every_address(activate, origin):
    """systemd's ListenStream=8080 is [::]:8080, which takes IPv4 as well."""
    origin.on("/", b"both")
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as passed:
        port = passed.getsockname()[1]
        outrigger = activate([passed], origin=origin.url, config={"listen": [{"address": f":{port}"}]})
    assert get(port).body == b"both"
    outrigger.await_access_lines(1)
    assert outrigger.access_lines()[0].startswith("127.0.0.1 "), "an IPv4 client, though the socket is IPv6"
    assert origin.last().get("x-forwarded-for") == "127.0.0.1"
    assert get(port, method="PURGE").status == 200, "purge.allow is 127.0.0.0/8"


def test_sockets_for_another_process_are_not_taken(make_outrigger, origin):
    origin.on("/", b"own")
    outrigger = make_outrigger(origin=origin.url, environment={"LISTEN_FDS": "1", "LISTEN_PID": "1"})
    assert outrigger.get("/").body == b"own"


def test_the_service_manager_is_told_of_start_and_end(make_outrigger, origin):
    outrigger = make_outrigger(origin=origin.url, wait=False)
    assert f"MAINPID={outrigger.process.pid}" in outrigger.await_notification("READY=1")
    outrigger.send_signal(signal.SIGTERM)
    outrigger.await_notification("STOPPING=1")
    assert outrigger.process.wait(20 * SLOW) == 0


def test_an_unusable_notify_socket_does_not_stop_us(make_outrigger, origin):
    origin.on("/", b"fine")
    outrigger = make_outrigger(origin=origin.url, environment={"NOTIFY_SOCKET": "/nowhere/notify"}, wait=False)

    def answers():
        try:
            return outrigger.get("/").body == b"fine"
        except OSError:
            return False

    until(answers, timeout=20 * SLOW, what="the server")


# ---- without a file ----

ALONE = """
import fcntl, os, socket, struct, sys
probe = socket.socket()
flags = fcntl.ioctl(probe, 0x8913, struct.pack("16sh14x", b"lo", 0))
fcntl.ioctl(probe, 0x8914, struct.pack("16sh14x", b"lo", struct.unpack("16sh14x", flags)[1] | 1))
probe.close()
os.system("mount -t tmpfs none /run")
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def alone(tmp_path):
    """Runs it in a network and a /run of its own, for without a file the admin interface has fixed addresses. Returns the means to ask it."""
    namespaces = ["unshare", "--net", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net", "--mount"]
    if subprocess.run([*namespaces, "true"], capture_output=True).returncode != 0:
        pytest.skip("no namespaces here")
    started = []

    def start(*arguments):
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(20 * SLOW)
        output = open(tmp_path / "output", "wb")
        process = subprocess.Popen([*namespaces, sys.executable, "-c", ALONE, os.path.abspath(BINARY), *map(str, arguments)], stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                                   env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}, cwd=REPOSITORY)
        started.append(process)
        try:
            assert b"READY=1" in notify.recv(4096)
        except socket.timeout:
            raise AssertionError((tmp_path / "output").read_text()) from None

        def inside(*command, check=True):
            user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
            return subprocess.run(["nsenter", "--target", str(process.pid), "--net", "--mount", *user, *command], capture_output=True, text=True, check=check, cwd=REPOSITORY).stdout

        return process, inside

    yield start
    for process in started:
        process.terminate()
        assert process.wait(20 * SLOW) == 0, (tmp_path / "output").read_text()


def test_an_origin_and_an_address_need_no_file(alone, tmp_path):
    (tmp_path / "page").write_text("hello")
    process, inside = alone("--origin", f"files:{tmp_path}", "--listen", ":8099", "--listen", "[::1]:8100")
    assert inside("curl", "-s", "http://127.0.0.1:8099/page") == "hello"
    assert inside("curl", "-s", "http://[::1]:8100/page") == "hello"
    assert inside("curl", "-s", "http://127.0.0.1:8081/healthz") == "ok\n"


def test_without_anything_the_demo_site_is_served(alone):
    process, inside = alone("--demo", "conf/demo")
    index = open(os.path.join(REPOSITORY, "conf", "demo", "index.html")).read()
    assert inside("curl", "-s", "http://127.0.0.1:8080/") == index
    assert "; hit" in inside("curl", "-sI", "http://127.0.0.1:8080/")
    assert "outrigger_requests_total" in inside("curl", "-s", "http://127.0.0.1:8081/metrics")
    assert '"total"' in inside(os.path.abspath(CONTROL), "--json", "stats"), "at the default socket"
    assert inside(os.path.abspath(BINARY), "-s", "reload") == "", "by the default pid file"
    assert inside("cat", "/run/outrigger/outrigger.pid") == f"{process.pid}\n"


def test_make_run_serves_the_demo_as_it_says(alone):
    """Every command that `make run` prints does what it promises."""
    process, inside = alone("--demo", "conf/demo", "--listen", "127.0.0.1:8080")
    printed = subprocess.run([os.path.join(REPOSITORY, "packaging", "what-to-try")], capture_output=True, text=True, check=True).stdout
    commands = [line.strip() for line in printed.splitlines() if line.startswith("  curl")]
    assert len(commands) == 3
    first, second = (inside("sh", "-c", commands[0]) for _ in range(2))
    assert "fwd=uri-miss" in first and "; hit" in second
    assert "outrigger_cache_hit_ratio 0.5" in inside("sh", "-c", commands[1])
    assert '"purged":true' in inside("sh", "-c", commands[2])
    assert "fwd=uri-miss" in inside("sh", "-c", commands[0])
