"""The package in a copy of this machine's root (an overlay: nothing outside changes): installed, started by its unit's commands, used, reloaded, upgraded,
removed, purged. Needs root, and build/deb (`make deb-test`)."""
import os
import pathlib
import re
import shlex
import subprocess
import textwrap

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PORT = 18089
SCRIPT = """
    set -eu
    mount --make-rprivate /
    mount -t tmpfs tmpfs {copy}
    mkdir {copy}/upper {copy}/work {copy}/root
    mount -t overlay overlay -o lowerdir=/,upperdir={copy}/upper,workdir={copy}/work {copy}/root
    mount -t proc proc {copy}/root/proc
    mount --rbind /dev {copy}/root/dev
    mount -t tmpfs tmpfs {copy}/root/run
    mount -t tmpfs tmpfs {copy}/root/tmp
    cp {package} {copy}/root/tmp/outrigger.deb
    ip link set lo up
    exec chroot {copy}/root /bin/sh -eu /dev/stdin
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")


def package():
    found = [path for path in (ROOT / "build" / "deb").glob("outrigger_*.deb")]
    assert len(found) == 1, "make deb"
    return found[0]


@pytest.fixture
def inside(tmp_path):
    """Runs a shell script in the copy, in namespaces of its own; what it leaves running dies with it."""

    def run(script):
        enter = textwrap.dedent(SCRIPT).format(copy=tmp_path, package=package())
        command = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc", "sh", "-c", enter]
        done = subprocess.run(command, input=textwrap.dedent(script), capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


def unit_commands(kind):
    text = subprocess.run(["dpkg-deb", "--fsys-tarfile", package()], capture_output=True, check=True).stdout
    unit = subprocess.run(["tar", "-xO", "./lib/systemd/system/outrigger.service"], input=text, capture_output=True, check=True).stdout.decode()
    return re.findall(rf"^{kind}=(.*)$", unit, re.M)


def test_the_package_from_installation_to_purge(inside):
    (start,) = unit_commands("ExecStart")
    (check,) = unit_commands("ExecStartPre")
    reloads = "\n".join(unit_commands("ExecReload")).replace("$MAINPID", "$(cat /run/outrigger/outrigger.pid)")
    steps = f"""
        export DEBIAN_FRONTEND=noninteractive
        printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d
        dpkg -i /tmp/outrigger.deb >/tmp/dpkg.log 2>&1 || {{ cat /tmp/dpkg.log; exit 1; }}
        getent passwd outrigger >/dev/null
        test -d /run/outrigger -a -d /var/log/outrigger
        test "$(stat -c %U /var/cache/outrigger)" = outrigger
        test -e /etc/systemd/system/multi-user.target.wants/outrigger.service
        ! test -e /etc/systemd/system/sockets.target.wants/outrigger.socket
        {check}

        # a site on another port, with a disk tier
        mkdir -p /srv/site; echo hello >/srv/site/page
        sed -i 's|^listen:.*|listen: [127.0.0.1:{PORT}]|; s|origin: http://127.0.0.1:3000|origin: files:/srv/site|' /etc/outrigger/outrigger.yaml
        echo 'cache: {{memory: 32MiB, disk: [{{path: /var/cache/outrigger, size: 64MiB}}]}}' >>/etc/outrigger/outrigger.yaml
        {check}
        {start} &
        for i in $(seq 200); do curl -so /dev/null http://127.0.0.1:{PORT}/page && break; sleep 0.1; done
        test "$(curl -s http://127.0.0.1:{PORT}/page)" = hello
        supervisor=$(cat /run/outrigger/outrigger.pid)
        for child in $(cat /proc/$supervisor/task/$supervisor/children); do grep -q "^Uid:.$(id -u outrigger)" /proc/$child/status; done
        outriggerctl stats >/dev/null
        grep -q '/page' /var/log/outrigger/access.log

        # reloads: a good one, and a bad one that stops at the check
        echo again >/srv/site/other
        sed -i 's|files:/srv/site|files:/srv/site/|' /etc/outrigger/outrigger.yaml
        {{ {reloads}
        }}
        for i in $(seq 100); do grep -q 'the new configuration serves' /var/log/outrigger/error.log && break; sleep 0.1; done
        test "$(curl -s http://127.0.0.1:{PORT}/other)" = again
        cp /etc/outrigger/outrigger.yaml /tmp/good
        echo 'nonsense: 1' >>/etc/outrigger/outrigger.yaml
        ! {check} 2>/dev/null
        cp /tmp/good /etc/outrigger/outrigger.yaml

        # rotation
        logrotate --force /etc/logrotate.d/outrigger
        for i in $(seq 100); do curl -so /dev/null http://127.0.0.1:{PORT}/page; test -s /var/log/outrigger/access.log && break; sleep 0.1; done
        test -s /var/log/outrigger/access.log -a -s /var/log/outrigger/access.log.1

        # an upgrade keeps what the operator wrote
        dpkg -i /tmp/outrigger.deb >/tmp/dpkg.log 2>&1 </dev/null || {{ cat /tmp/dpkg.log; exit 1; }}
        cmp /tmp/good /etc/outrigger/outrigger.yaml
        outrigger -s quit
        wait

        dpkg -r outrigger >/dev/null 2>&1
        ! test -e /usr/sbin/outrigger
        cmp /tmp/good /etc/outrigger/outrigger.yaml
        dpkg -P outrigger >/dev/null 2>&1
        left=$(find / -xdev -path /tmp -prune -o -path /work -prune -o -name '*outrigger*' -newer /tmp/outrigger.deb -print 2>/dev/null | grep -v '^/proc' || true)
        test -z "$left" || {{ echo "left behind: $left"; exit 1; }}
        echo done
    """
    assert inside(steps).splitlines()[-1] == "done"


def test_the_source_archive_is_the_same_whoever_makes_it_and_when(tmp_path):
    made = []
    for name, umask in (("one", "022"), ("two", "077")):
        script = f"umask {umask}; git clone -q {shlex.quote(str(ROOT))} {name} && cd {name} && find . -name '*.c' -exec touch -d @{1000000000 + len(made)} {{}} + && TZ=Asia/Tokyo make -s dist"
        subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, check=True, timeout=300)
        (archive,) = (tmp_path / name / "build").glob("outrigger-*.tar.gz")
        made.append(archive.read_bytes())
    assert made[0] == made[1]


def complete(file, *words):
    """What bash offers for the last word."""
    line = " ".join(shlex.quote(word) for word in words)
    script = f". {ROOT}/packaging/completion/{file}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _{file}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.split()


def test_the_shell_completes_commands_and_options():
    assert complete("outriggerctl", "outriggerctl", "st") == ["stats", "store"]
    assert complete("outriggerctl", "outriggerctl", "--json", "purge", "--s") == ["--soft"]
    assert complete("outrigger", "outrigger", "-s", "re") == ["reload", "reopen"]
    assert "--check-store" in complete("outrigger", "outrigger", "--")
