"""The package on a clean Debian with systemd as its first process: what the unit, its socket and its hardening really do. Needs root, build/deb
(`make deb-test`) and Debian's mirror."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import textwrap

import pytest

from clean import ROOT, debian, run

sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from harness.poll import until

INSIDE = ["systemd", "systemd-sysv", "dbus", "curl", "ca-certificates"]
PRIVATE = ["unshare", "--mount", "--propagation", "private"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can boot a container")


class Machine:
    """A clean Debian with the package, booted: its own network, processes and mounts."""

    def __init__(self, root):
        self.root = root
        package, = (ROOT / "build" / "deb").glob("outrigger_*.deb")
        needs = re.sub(r" *\([^)]*\)", "", run("dpkg-deb", "-f", package, "Depends")).replace(" ", "").split(",")
        debian(root, *INSIDE, *(need.split("|")[0] for need in needs))
        shutil.copy(package, root / "root" / "outrigger.deb")
        (root / "srv" / "site").mkdir(parents=True)
        (root / "srv" / "site" / "page").write_text("hello\n")
        run(*PRIVATE, "systemd-nspawn", "-q", "--register=no", "--keep-unit", "-D", root, "dpkg", "-i", "/root/outrigger.deb")
        boot = ["systemd-nspawn", "-q", "--register=no", "--keep-unit", "--private-network", "-b", "-D", str(root)]
        self.console = open(root.parent / "console", "wb")
        self.process = subprocess.Popen([*PRIVATE, *boot], stdin=subprocess.DEVNULL, stdout=self.console, stderr=self.console)
        until(self.first_process, what="a first process", timeout=60)
        until(lambda: self.try_to("systemctl is-system-running") != "offline", what="the system to run", timeout=60)

    def first_process(self):
        """nspawn's child."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0]) if children else None

    def execute(self, script):
        inside = ["nsenter", "-t", str(self.first_process()), "-m", "-u", "-i", "-n", "-p", "-r", "-w", "/bin/sh", "-c"]
        return subprocess.run([*inside, textwrap.dedent(script)], capture_output=True, text=True, timeout=120)

    def try_to(self, script):
        return self.execute(script).stdout.strip()

    def do(self, script):
        done = self.execute(script)
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}\n{self.journal()}"
        return done.stdout.strip()

    def journal(self):
        return self.try_to("journalctl --no-pager -o cat")

    def main_pid(self):
        return int(self.do("systemctl show -P MainPID outrigger"))

    def serves(self, page="hello"):
        return self.try_to("curl -s --max-time 5 http://127.0.0.1/page") == page

    def configure(self, text):
        (self.root / "etc" / "outrigger" / "outrigger.yaml").write_text(textwrap.dedent(text))

    def stop(self):
        self.try_to("systemctl poweroff")
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.console.close()


CONFIG = """
    user: outrigger
    listen: [0.0.0.0:80]
    admin: {listen: 127.0.0.1:8081, socket: /run/outrigger/admin.sock}
    access_log: /var/log/outrigger/access.log
    error_log: /var/log/outrigger/error.log
    cache: {memory: 32MiB, disk: [{path: /var/cache/outrigger, size: 64MiB}]}
    sites: [{hosts: ["*"], origin: "files:/srv/site"}]
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    made = Machine(tmp_path_factory.mktemp("machine") / "root")
    yield made
    made.stop()


@pytest.fixture
def serving(machine):
    machine.configure(CONFIG)
    machine.do("systemctl stop outrigger.socket outrigger; systemctl reset-failed; systemctl start outrigger")
    until(machine.serves, what="the page", timeout=20)
    return machine


def test_the_unit_starts_with_what_the_package_configures(machine):
    until(lambda: machine.try_to("systemctl is-active outrigger") == "active", what="the service", timeout=30)
    machine.do("outriggerctl stats")
    machine.do("systemd-analyze verify --man=no outrigger.service outrigger.socket")


EXPOSURE_MAX = 35  # tenths: systemd-analyze calls up to 49 "OK"; the supervisor is root, and talks to the network


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_the_unit_leaves_little_to_a_process_that_was_taken_over(tmp_path):
    """By systemd's own judgement, without a machine that runs it: it also finds what it does not understand."""
    (tmp_path / "sbin").mkdir()
    shutil.copy("/bin/true", tmp_path / "sbin" / "outrigger")
    unit = tmp_path / "outrigger.service"
    unit.write_text((ROOT / "packaging" / "outrigger.service.in").read_text().replace("@PREFIX@", str(tmp_path)).replace("@SYSCONFDIR@", "/etc"))
    shutil.copy(ROOT / "packaging" / "outrigger.socket", tmp_path)
    for command in (["verify", "--man=no", str(unit)], ["security", "--offline=true", f"--threshold={EXPOSURE_MAX}", "--no-pager", str(unit)]):
        done = subprocess.run(["systemd-analyze", *command], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        assert command[0] != "verify" or done.stderr == ""


def test_it_serves_files_through_its_hardening_and_refuses_nothing_that_it_needs(serving):
    before = serving.do("curl -sD - -o /dev/null http://127.0.0.1/page")
    assert "200 OK" in before
    main = serving.main_pid()
    for pid in [main, *serving.do(f"cat /proc/{main}/task/{main}/children").split()]:
        status = serving.do(f"cat /proc/{pid}/status")
        assert re.search(r"^NoNewPrivs:\s+1$", status, re.M) and re.search(r"^Seccomp:\s+2$", status, re.M)
    assert "refused" not in serving.journal()


def test_what_is_on_disk_survives_a_restart(serving):
    kept = serving.root / "srv" / "site" / "kept"
    kept.write_text("on disk\n")
    os.utime(kept, (0, 0))  # so old that it is fresh for a while
    answers = [serving.do("curl -sD - http://127.0.0.1/kept").lower() for _ in range(2)]
    serving.do("systemctl restart outrigger")
    answers.append(serving.do("curl -sD - http://127.0.0.1/kept").lower())
    assert ["; hit" in answer for answer in answers] == [False, True, True] and all("on disk" in answer for answer in answers), answers


def test_a_reload_is_checked_first(serving):
    pid = serving.main_pid()
    (serving.root / "srv" / "other").mkdir(exist_ok=True)
    (serving.root / "srv" / "other" / "page").write_text("other\n")
    serving.configure(CONFIG.replace("files:/srv/site", "files:/srv/other"))
    serving.do("systemctl reload outrigger")
    until(lambda: serving.serves("other"), what="the new configuration", timeout=20)
    serving.configure(CONFIG + "    nonsense: 1\n")
    assert serving.execute("systemctl reload outrigger").returncode != 0
    assert "nonsense" in serving.journal()
    assert serving.serves("other") and serving.main_pid() == pid


def test_an_upgrade_is_followed_and_a_death_after_it_is_noticed(serving):
    old = serving.main_pid()
    serving.do("systemctl kill --kill-who=main -s USR2 outrigger")
    until(lambda: serving.main_pid() not in (0, old), what="the new binary to be the main process", timeout=30)
    new = serving.main_pid()
    until(lambda: serving.execute(f"test -e /proc/{old}").returncode != 0, what="the old one to end", timeout=60)
    assert serving.serves() and serving.try_to("systemctl is-active outrigger") == "active"
    assert "reception only permitted" not in serving.journal()
    serving.do(f"kill -KILL {new}")
    until(lambda: serving.main_pid() not in (0, new) and serving.serves(), what="another start", timeout=30)


def test_clients_wait_in_the_socket_while_the_service_is_down(serving):
    serving.do("systemctl stop outrigger; systemctl start outrigger.socket")
    assert serving.do("curl -s --max-time 30 http://127.0.0.1/page") == "hello"
    serving.do("systemctl restart outrigger")
    assert serving.serves()
    serving.do("systemctl stop outrigger.socket outrigger")


def test_it_ends_in_order_and_leaves_nothing_when_purged(serving):
    serving.do("systemctl stop outrigger")
    assert serving.try_to("systemctl show -P Result outrigger") == "success"
    serving.do("dpkg -P outrigger")
    assert serving.execute("systemctl cat outrigger").returncode != 0
    assert serving.do("find / -xdev -name '*outrigger*' -not -path '/root/*' -not -path '/proc/*' -not -path '/var/lib/dpkg/*' -not -path '/var/log/*'") == ""
