"""What every measurement needs: servers with their configuration filled in and their processes followed, the origin, the load.

The server under test has core 0, load and origin share core 1."""
import ctypes
import json
import os
import pathlib
import resource
import signal
import socket
import subprocess
import time
from typing import Dict, List, NamedTuple, Optional

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = ROOT / "build" / "bench"
SERVER_CORE, CLIENT_CORE = "0", "1"
START_SECONDS = 30
LOAD_SECONDS_MAX = 600  # beyond what it was to take


PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


def die_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def allow_descriptors():
    """For thousands of connections, as many as this account may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


priority = []  # what a command is begun with


def come_first():
    """For a machine that is not idle: what is measured does not wait for what else runs. Real-time priority; a niceness would still cost a tick of waiting."""
    priority[:] = ["chrt", "--rr", "1"]


def pinned(core, command, is_first=True):
    return [*(priority if is_first else []), "taskset", "-c", core, *command]


class Refused(Exception):
    """A server does not start, or does not do what it should; says why in one line."""


class Stuck(Refused):
    """Asking again would not help."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def complaint(text):
    """The line of a server's output that says what is wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines[-1:] or ["it says nothing"])[0]


class Process:
    """A pinned program that listens on `port`; ended by its own process id, with all that it started. `enter` is called in the child before. `is_first` False:
    it comes first when it is told to; what the kernel does for its writing has a share of its core until then."""

    def __init__(self, command, port, core, directory, enter=None, is_first=True):
        self.port, self.directory, self.command, self.enter = port, directory, pinned(core, command, is_first), enter
        self.start()

    def start(self):
        """Returns when it listens."""

        def prepare():
            die_with_parent()
            allow_descriptors()
            if self.enter:
                self.enter()

        with open(self.directory / "output", "wb") as output:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, preexec_fn=prepare, cwd=self.directory
            )
        deadline = time.monotonic() + START_SECONDS
        while not answers(self.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise Refused(complaint((self.directory / "output").read_text(errors="replace")))
            time.sleep(0.001)

    def family(self):
        return [self.process.pid, *children(self.process.pid)]

    def come_first(self):
        for pid in self.family() if priority else []:
            subprocess.run([*priority[:-1], "--all-tasks", "--pid", priority[-1], str(pid)], check=True)

    def pause(self):
        """Until it is resumed, nothing of it runs. What it was doing last has a moment to end."""
        time.sleep(0.1)
        for pid in self.family():
            os.kill(pid, signal.SIGSTOP)

    def resume(self):
        for pid in reversed(self.family()):  # helpers before those who would miss them
            os.kill(pid, signal.SIGCONT)

    def stop(self):
        if self.process.poll() is None:
            self.resume()
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def replaced(text, values):
    for name, value in values.items():
        text = text.replace("{%s}" % name, str(value))
    return text


def fill_in(template, to, values):
    """Copies a template, or the files of a directory of templates, with {name} replaced."""
    if template.is_dir():
        to.mkdir()
        for file in template.iterdir():
            fill_in(file, to / file.name, values)
        return
    to.write_text(replaced(template.read_text(), values))


class Peer(NamedTuple):
    """A server to measure: its file (or directory of files) below tests/bench/peers, None if it needs none, its command, and what else both have in {braces}."""

    template: Optional[str]
    command: List[str]
    values: Dict[str, str] = {}


class Server(Process):
    """A peer in a directory of its own."""

    def __init__(self, directory, peer, core=SERVER_CORE, enter=None, is_first=True, **values):
        directory.mkdir()
        directory.chmod(0o777)  # some change to an account of their own
        port, file = free_port(), directory / pathlib.Path(peer.template or "none").name
        self.tls_port = free_port()
        values = {"dir": directory, "file": file, "port": port, "tls_port": self.tls_port, "admin": free_port(), **peer.values, **values}
        if peer.template:
            fill_in(HERE / "peers" / peer.template, file, values)
        super().__init__([replaced(word, values) for word in peer.command], port, core, directory, enter, is_first)


class Origin(Process):
    """tests/bench/origin.c: /s/SIZE/ANYTHING has a body of SIZE bytes."""

    def __init__(self, directory):
        directory.mkdir()
        port = free_port()
        super().__init__([str(PROGRAMS / "origin"), str(port)], port, CLIENT_CORE, directory)

    def asked(self):
        with socket.create_connection(("127.0.0.1", self.port), 5) as s:
            s.sendall(b"GET /count HTTP/1.1\r\nHost: origin\r\n\r\n")
            return int(s.recv(4096).split(b"\r\n\r\n")[1])


def group(name, connections, path, objects=1, order="sequential"):
    """A group of connections of tests/bench/load.c; `path` may hold %u, an object's number."""
    return ["--group", name, "--connections", str(connections), "--path", path, "--objects", str(objects), "--order", order]


def listed(name, connections, file, order="sequential"):
    return ["--group", name, "--connections", str(connections), "--list", str(file), "--order", order]


def load_command(server, *groups, seconds=0, warm_up=0, seed=1, fields=(), check=True):
    command = [str(PROGRAMS / "load"), "--seed", str(seed), "--seconds", str(seconds), "--warm-up", str(warm_up), *(["--check"] if check else [])]
    command += [word for pid in server.family() for word in ("--watch", str(pid))]
    command += [word for field in fields for word in ("--header", field)]
    tls = any("--tls" in words for words in groups)
    return pinned(CLIENT_CORE, [*command, *(word for words in groups for word in words), f"127.0.0.1:{server.tls_port if tls else server.port}"])


def load(server, *groups, **how):
    """Runs groups side by side; 0 seconds: until each has asked for everything. Returns what load.c prints: the server's CPU seconds are in it."""
    command = load_command(server, *groups, **how)
    try:
        ran = subprocess.run(command, capture_output=True, text=True, preexec_fn=allow_descriptors, timeout=how.get("seconds", 0) + LOAD_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        raise Stuck(f"it has not answered everything in {LOAD_SECONDS_MAX} s") from None
    if ran.returncode != 0:
        raise Refused(complaint(ran.stderr))
    result = json.loads(ran.stdout)
    for name, of in result["groups"].items():
        bad = {word: of[word] for word in ("not_200", "wrong", "broken") if of[word]}
        if bad or not of["requests"]:
            raise Refused(f"{name}: of {of['requests']} responses: {bad}")
    return result


def fill(server, origin, groups, passes=12, **how):
    """Has everything stored: a cache that drops what it cannot write in time, or refuses what it has no memory for, is asked again. One that never has all shows
    it in its misses."""
    for left in reversed(range(passes)):
        before = origin.asked()
        try:
            wanted = sum(of["requests"] for of in load(server, *groups, **how)["groups"].values())
        except Refused as refusal:
            if left == 0 or isinstance(refusal, Stuck):
                raise
            continue
        if origin.asked() - before < 0.002 * wanted:
            return


def children(pid):
    found = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except FileNotFoundError:
        return found
    for task in tasks:
        try:
            pids = open(f"/proc/{pid}/task/{task}/children").read().split()
        except OSError:
            continue  # a thread that has ended
        for child in pids:
            found += [int(child), *children(int(child))]
    return found
