"""The programs of the measurements (tests/bench) count what was there: a load that does not see a wrong response would make any server look good."""
import json
import os
import pathlib
import socket
import subprocess
import threading
import time

import pytest

from harness.accepting import Accepting
from harness.outrigger import SLOW
from harness.poll import until
from harness.ports import free_port

PROGRAMS = pathlib.Path(os.environ["OUTRIGGER"]).parent / "bench"
SECONDS = 60 * SLOW
UNFREED = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}  # what lasts as long as the program is not freed
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n/path"


def load(port, *words, check=True):
    command = [PROGRAMS / "load", "--seconds", "0", *(["--check"] if check else []), "--group", "g", *map(str, words), f"127.0.0.1:{port}"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=UNFREED)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def asked(port, *words, **how):
    return load(port, *words, **how)["groups"]["g"]


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


@pytest.fixture
def start():
    running = []

    def started(port, *command):
        running.append(subprocess.Popen([str(word) for word in command], env=UNFREED))
        until(lambda: listens(port))
        return running[-1]

    yield started
    for process in running:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    directory = tmp_path_factory.mktemp("certificate")
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out certificate.pem"
    subprocess.run(words.split(), cwd=directory, check=True, capture_output=True)
    return directory / "certificate.pem", directory / "key.pem"


@pytest.fixture
def floor(start, certificate):
    """Its ports: plain, TLS."""
    plain, secure = free_port(), free_port()
    process = start(plain, PROGRAMS / "floor", plain, secure, *certificate)
    return plain, secure, process


@pytest.fixture
def origin(start):
    port = free_port()
    start(port, PROGRAMS / "origin", port)
    return port


class Answering:
    """Answers each request with what `answer` makes of its number: pieces of bytes; the connection is closed after None."""

    def __init__(self, answer):
        self.answer, self.requests, self.connections, self.open = answer, 0, 0, 0
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self.accepting = Accepting(listener, self.accepted)

    def accepted(self, connection):
        self.connections += 1
        threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        self.open += 1
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.answer_requests(connection)
        except OSError:
            pass
        connection.close()
        self.open -= 1

    def answer_requests(self, connection):
        received = b""
        while True:
            while b"\r\n\r\n" not in received:
                more = connection.recv(65536)
                if not more:
                    return
                received += more
            _, received = received.split(b"\r\n\r\n", 1)
            self.requests += 1
            for piece in self.answer(self.requests):
                if piece is None:
                    return
                connection.sendall(piece)


@pytest.fixture
def answering():
    made = []

    def make(answer):
        made.append(Answering(answer))
        return made[-1]

    yield make
    for server in made:
        server.accepting.stop()


@pytest.mark.parametrize("size", [0, 1, 1024, 100_000, 1_000_000])
def test_every_response_and_every_byte_is_counted(origin, size):
    of = asked(origin, "--connections", 4, "--path", f"/s/{size}/%u", "--objects", 40, "--order", "once")
    assert (of["requests"], of["bytes"], of["not_200"], of["broken"]) == (40, 40 * size, 0, 0)


def test_a_body_of_another_path_is_wrong(floor, origin):
    assert asked(origin, "--path", "/s/100/a", "--order", "once")["wrong"] == 0
    assert asked(floor[0], "--path", "/s/100/a", "--order", "once")["wrong"] == 1


def test_another_status_is_counted(answering):
    server = answering(lambda number: [OK.replace(b"200 OK", b"404 No") if number % 4 == 0 else OK])
    of = asked(server.port, "--path", "/path", "--pattern", "/path", "--objects", 8, "--order", "once")
    assert (of["requests"], of["not_200"]) == (8, 2)


def test_a_response_that_is_cut_off_is_broken_and_not_counted(answering):
    server = answering(lambda number: [OK[:-2], None] if number == 2 else [OK])
    of = asked(server.port, "--path", "/path", "--objects", 5, "--order", "once")
    assert (of["requests"], of["broken"]) == (4, 1)


def test_a_head_in_pieces_is_one_head(answering):
    server = answering(lambda number: [OK[:9], OK[9:30], OK[30:-3], OK[-3:]])
    of = asked(server.port, "--path", "/path", "--objects", 5, "--order", "once")
    assert (of["requests"], of["bytes"], of["wrong"]) == (5, 25, 0)


def test_with_close_each_request_has_its_connection(answering):
    server = answering(lambda number: [OK])
    assert asked(server.port, "--connections", 2, "--path", "/path", "--objects", 20, "--order", "once", "--close")["requests"] == 20
    assert server.connections == 20


def test_with_a_rate_requests_are_made_when_it_is_time(answering):
    server = answering(lambda number: [OK])
    began = time.monotonic()
    ran = load(server.port, "--connections", 3, "--path", "/path", "--objects", 41, "--order", "once", "--rate", 200)
    assert ran["groups"]["g"]["requests"] == 41
    assert time.monotonic() - began >= 40 / 200
    assert server.connections == 3


def test_what_should_have_been_asked_while_the_server_stalls_has_waited(answering):
    stall = threading.Event()
    server = answering(lambda number: [OK] if number > 1 or not stall.wait(0.3) else [])
    of = asked(server.port, "--path", "/path", "--objects", 20, "--order", "once", "--rate", 100)
    assert of["requests"] == 20
    assert of["latency_us"]["least"] >= 100_000  # the last one's time had come 190 ms after the first one's


def test_a_connection_that_is_closed_between_two_requests_is_made_anew(answering):
    server = answering(lambda number: [OK, None])
    of = asked(server.port, "--connections", 2, "--path", "/path", "--objects", 4, "--order", "once", "--rate", 10)
    assert of["requests"] + of["broken"] == 4  # broken: only what was asked before its end was seen
    assert of["requests"] <= server.connections <= 4


def test_connections_are_held_until_the_load_is_told(answering):
    server = answering(lambda number: [OK])
    command = [PROGRAMS / "load", "--hold", "--seconds", "0", "--group", "g", "--connections", "30", "--path", "/path", f"127.0.0.1:{server.port}"]
    holding = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=UNFREED)
    try:
        assert json.loads(holding.stdout.readline())["groups"]["g"]["requests"] == 30
        assert (server.open, server.requests) == (30, 30)
    finally:
        holding.communicate(timeout=SECONDS)
    until(lambda: server.open == 0)


def test_a_watched_process_has_used_what_it_has_used(floor):
    plain, _, process = floor
    words = ["--watch", process.pid, "--path", "/s/1000000/a", "--objects", 200, "--order", "once"]
    used = load(plain, *words, check=False)["cpu_seconds"]
    assert 0 < used < SECONDS
    assert load(plain, *words[2:], check=False)["cpu_seconds"] == 0


@pytest.mark.parametrize("size", [0, 1024, 100_000])
def test_over_tls_every_byte_is_counted(floor, size):
    of = asked(floor[1], "--connections", 3, "--path", f"/s/{size}/%u", "--objects", 30, "--order", "once", "--tls", check=False)
    assert (of["requests"], of["bytes"], of["handshakes"]) == (30, 30 * size, 3)


def test_full_handshakes_are_full(floor):
    of = asked(floor[1], "--connections", 2, "--path", "/s/10/%u", "--objects", 20, "--order", "once", "--tls", "--close", check=False)
    assert (of["requests"], of["handshakes"], of["resumed"]) == (20, 20, 0)


def test_a_connection_resumes_its_predecessors_session(floor):
    of = asked(floor[1], "--connections", 2, "--path", "/s/10/%u", "--objects", 20, "--order", "once", "--tls", "--close", "--resume", check=False)
    assert (of["requests"], of["handshakes"], of["resumed"]) == (20, 20, 18)


NGINX = """daemon off; pid {dir}/pid; error_log {dir}/error.log crit; events {{ }}
http {{
    access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
    server {{
        listen 127.0.0.1:{port} ssl {http2}; ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.3;
        location /no {{ return 404 $request_uri; }}
        location /yes {{ return 200 $request_uri; }}
        location /wrong {{ return 200 something; }}
    }}
}}
"""


def nginx(start, directory, certificate, http2):
    port = free_port()
    (directory / "conf").write_text(NGINX.format(dir=directory, port=port, http2=http2, certificate=certificate[0], key=certificate[1]))
    start(port, "nginx", "-c", directory / "conf")
    return port


def test_http2_asks_many_at_once_and_sees_what_is_wrong(start, tmp_path, certificate):
    port = nginx(start, tmp_path, certificate, "http2")

    def over_http2(path):
        return asked(port, "--connections", 2, "--path", path, "--objects", 100, "--order", "once", "--tls", "--http2", 8)

    right, refused, wrong = over_http2("/yes/%u"), over_http2("/no/%u"), over_http2("/wrong/%u")
    assert (right["requests"], right["handshakes"], right["not_200"], right["wrong"]) == (100, 2, 0, 0)
    assert right["bytes"] == sum(len(f"/yes/{number}") for number in range(100))
    assert (refused["requests"], refused["not_200"], refused["wrong"]) == (100, 100, 0)
    assert (wrong["requests"], wrong["not_200"], wrong["wrong"]) == (100, 0, 100)


def test_a_server_without_http2_is_no_server_of_http2(start, tmp_path, certificate):
    port = nginx(start, tmp_path, certificate, "")
    command = [PROGRAMS / "load", "--seconds", "0", "--group", "g", "--tls", "--http2", "8", "--order", "once", f"127.0.0.1:{port}"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=UNFREED)
    assert ran.returncode == 2
    assert "HTTP/2" in ran.stderr or "alert" in ran.stderr
