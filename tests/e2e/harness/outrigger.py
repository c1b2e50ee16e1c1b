"""The accelerator under test: started with a configuration, told ready by sd_notify, stopped by its own process id."""
import json
import os
import re
import signal
import socket
import subprocess

import yaml

from .http import Connection, get
from .poll import until
from .ports import free_port

BINARY = os.environ.get("OUTRIGGER", "build/outrigger")
CONTROL = os.environ.get("OUTRIGGERCTL", "build/outriggerctl")
SLOW = 10 if "thread" in BINARY or "address" in BINARY else 1  # sanitizer builds take their time
TITLE = re.compile("outrigger: [a-z]+|")  # or it is gone already


def merge(into, extra):
    for key, value in extra.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value
    return into


class Outrigger:
    """`config` is merged over a small default. `site` is the first site's settings besides hosts and origin."""

    def __init__(self, directory, origin=None, config=None, site=None, wait=True, environment=None, pass_fds=()):
        self.directory = directory
        self.port, self.admin_port = free_port(), free_port()
        self.socket = str(directory / "admin.sock")
        self.access_log, self.error_log = directory / "access.log", directory / "error.log"
        self.config_path = directory / "outrigger.yaml"
        self.config = {
            "workers": 2,
            "listen": [{"address": f"127.0.0.1:{self.port}"}],
            "admin": {"listen": f"127.0.0.1:{self.admin_port}", "socket": self.socket},
            "cache": {"memory": "32MiB"},
            "access_log": {"path": str(self.access_log)},
            "error_log": {"path": str(self.error_log), "level": "info"},
            "sites": [{"hosts": ["*"], "origin": origin or "http://127.0.0.1:1"}],
        }
        merge(self.config["sites"][0], site or {})
        merge(self.config, config or {})
        self.environment = environment or {}
        self.pass_fds = pass_fds
        self.process = None
        self.start(wait)

    def write_config(self, text=None):
        self.config_path.write_text(text if text is not None else yaml.safe_dump(self.config, sort_keys=False))

    def start(self, wait=True):
        self.write_config()
        notify = str(self.directory / "notify.sock")
        if os.path.exists(notify):
            os.unlink(notify)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(notify)
        self.notify.settimeout(20 * SLOW)
        self.output = open(self.directory / "output", "ab")
        self.process = subprocess.Popen(
            self.command(),
            stdout=self.output,
            stderr=self.output,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "NOTIFY_SOCKET": notify, **self.environment},
            pass_fds=self.pass_fds,
            preexec_fn=self.before_exec,
        )
        if wait:
            self.await_notification("READY=1")
            until(lambda: all(TITLE.fullmatch(title(pid)) for pid in descendants(self.process.pid)), what="every process to have its title")

    def command(self):
        return [BINARY, "-c", str(self.config_path), "--pid-file", str(self.directory / "pid")]

    def before_exec(self):
        """In the child, before it becomes the accelerator."""

    def await_notification(self, word):
        while True:
            try:
                text = self.notify.recv(4096).decode()
            except socket.timeout:
                raise AssertionError(f"no {word} from the accelerator; its output:\n{self.output_text()}") from None
            if word in text:
                return text

    def output_text(self):
        return (self.directory / "output").read_text(errors="replace")

    def send_signal(self, number):
        self.process.send_signal(number)

    def stop(self, number=signal.SIGTERM, timeout=15):
        if self.process and self.process.poll() is None:
            self.send_signal(number)
            try:
                self.process.wait(timeout * SLOW)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"the accelerator did not stop; its output:\n{self.output_text()}") from None
        self.notify.close()
        self.output.close()
        text = self.output_text() + (self.error_log.read_text(errors="replace") if self.error_log.exists() else "")
        assert "Sanitizer" not in text and "runtime error:" not in text, text
        assert "Assertion" not in text, text

    def reload(self):
        """HUP, and wait until the new configuration serves (or was refused)."""
        self.send_signal(signal.SIGHUP)

    def connect(self, **options):
        return Connection(self.port, **options)

    def get(self, target="/", **options):
        return get(self.port, target, **options)

    def metrics(self):
        text = get(self.admin_port, "/metrics", host="localhost").body.decode()
        return {m[1]: float(m[2]) for m in re.finditer(r"^(outrigger_\S+(?:\{[^}]*\})?) (\S+)$", text, re.M)}

    def metric(self, name, **labels):
        """The sum over every row of that name whose labels include these."""
        total = 0.0
        for row, value in self.metrics().items():
            if row.split("{")[0] == name and all(f'{k}="{v}"' in row for k, v in labels.items()):
                total += value
        return total

    def await_metric(self, value, name, **labels):
        """Counters of a request move when it ends, which may be a moment after its client has the last byte; gauges follow within 50 ms."""
        until(lambda: self.metric(name, **labels) == value, what=f"{name} {labels} to be {value}; it is {self.metric(name, **labels)}")

    def access_lines(self):
        return self.access_log.read_text(errors="replace").splitlines() if self.access_log.exists() else []

    def await_access_lines(self, count):
        return until(lambda: (lines := self.access_lines()) and len(lines) >= count and lines, what=f"{count} access log lines")

    def errors(self):
        return self.error_log.read_text(errors="replace") if self.error_log.exists() else ""

    def children(self, role):
        """Process ids of that role ("proxy", "disk", "resolver", "log"), oldest first."""
        found = []
        for pid in descendants(self.process.pid):
            try:
                state = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            if title(pid).startswith(f"outrigger: {role}") and state != "Z":
                found.append(pid)
        return sorted(found)

    def await_children(self, role, count, timeout=10.0 * SLOW, without=None):
        """That many processes of the role, the one with process id `without` not among them."""
        return until(lambda: len(found := self.children(role)) == count and without not in found and found, timeout, f"{count} {role} processes")

    def ctl(self, *arguments, check=True):
        done = subprocess.run([CONTROL, "--socket", self.socket, *arguments], capture_output=True, text=True, timeout=30 * SLOW)
        if check:
            assert done.returncode == 0, done.stderr
        return done

    def stats(self):
        return json.loads(self.ctl("--json", "stats").stdout)


def title(pid):
    try:
        return open(f"/proc/{pid}/cmdline", "rb").read().rstrip(b"\0").replace(b"\0", b" ").decode()
    except OSError:
        return ""


def descendants(pid):
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in open(f"/proc/{pid}/task/{task}/children").read().split():
                found += [int(child)] + descendants(int(child))
    except OSError:
        pass
    return found
