"""The processes are locked up, and go on working when what they may read changes: directories that are made, replaced, or come with a reload."""
import os

import pytest

from harness.load import Load
from harness.outrigger import BINARY
from harness.poll import until

ROLES = ("proxy", "disk", "store", "resolver", "log")
SANITIZED = "thread" in BINARY or "address" in BINARY
FILES = {"max_age": 0}  # each request is the disk helper's


def status(pid):
    return dict(line.split(":\t", 1) for line in open(f"/proc/{pid}/status").read().splitlines() if ":\t" in line)


def write(root, text):
    root.mkdir(parents=True, exist_ok=True)
    (root / "page").write_text(text)


def files_site(root, host="*"):
    return {"hosts": [host], "origin": f"files:{root}", "files": dict(FILES)}


@pytest.fixture
def root(tmp_path):
    write(tmp_path / "www", "first")
    return tmp_path / "www"


@pytest.mark.parametrize("user", [None, "nobody"])
def test_no_process_keeps_a_privilege(make_outrigger, root, tmp_path, user):
    if user and os.geteuid() != 0:
        pytest.skip("only root can change to another user")
    config = {"sites": [files_site(root)], "cache": {"disk": [{"path": str(tmp_path / "store"), "size": "64MiB"}]}}
    outrigger = make_outrigger(config={**config, **({"user": user} if user else {})})
    until(lambda: all(status(pid)["Seccomp"] == "2" for role in ROLES for pid in outrigger.children(role)), what="every process to be locked up")
    for role in ROLES:
        assert outrigger.children(role), role
        for pid in outrigger.children(role):
            found = status(pid)
            assert found["NoNewPrivs"] == "1" and found["Seccomp"] == "2", role
            for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                assert int(found[kind], 16) == 0, (role, kind)
    supervisor = status(outrigger.process.pid)
    assert supervisor["NoNewPrivs"] == "1" and supervisor["Seccomp"] == "2"
    # chown, dac_override, dac_read_search, fowner, kill, setgid, setuid, net_bind_service
    assert int(supervisor["CapEff"], 16) & ~0b10011101111 == 0


def test_nothing_that_is_done_every_day_is_refused(make_outrigger, make_origin, root, tmp_path):
    origin = make_origin()
    origin.on("/stored", b"stored")
    sites = [{"hosts": ["named.test"], "origin": f"http://localhost:{origin.port}"}, files_site(root)]
    outrigger = make_outrigger(config={"sites": sites, "cache": {"disk": [{"path": str(tmp_path / "store"), "size": "64MiB"}]}})
    for _ in range(2):
        assert outrigger.get("/stored", host="named.test").body == b"stored"
        assert outrigger.get("/page").body == b"first"
        outrigger.metrics()
        outrigger.stats()
        outrigger.ctl("why", "http://named.test/stored")
        outrigger.ctl("purge", "--all")
        outrigger.ctl("reload")
    assert "sandbox" not in outrigger.output_text() + outrigger.errors()


def test_many_threads_are_refused_nothing(make_outrigger, origin):
    origin.on("*", b"hello")
    outrigger = make_outrigger(origin=origin.url, config={"workers": 20})
    assert outrigger.get("/").body == b"hello"
    outrigger.stop()
    assert "sandbox" not in outrigger.output_text() + outrigger.errors()


def test_a_directory_that_is_replaced_is_read_at_once(make_outrigger, tmp_path):
    """As deployments do: current -> releases/2."""
    for number in range(4):
        write(tmp_path / "releases" / str(number), f"release {number}")
    current = tmp_path / "current"
    current.symlink_to("releases/0")
    outrigger = make_outrigger(config={"sites": [files_site(current)]})
    for number in range(4):
        (tmp_path / "next").symlink_to(f"releases/{number}")
        (tmp_path / "next").rename(current)
        for _ in range(8):
            answer = outrigger.get("/page")
            assert (answer.status, answer.body) == (200, f"release {number}".encode())


def test_a_directory_may_be_made_after_the_start(make_outrigger, tmp_path):
    outrigger = make_outrigger(config={"sites": [files_site(tmp_path / "later")]})
    assert outrigger.get("/page").status == 404
    write(tmp_path / "later", "made")
    assert outrigger.get("/page").body == b"made"


def test_directories_that_come_with_a_reload_cost_no_request(make_outrigger, root, tmp_path):
    outrigger = make_outrigger(config={"sites": [files_site(root)]})
    with Load(outrigger, {"/page?{}": b"first"}, clients=3) as load:
        for number in range(3):
            write(tmp_path / f"more{number}", f"more {number}")
            outrigger.config["sites"].insert(0, files_site(tmp_path / f"more{number}", f"more{number}.test"))
            outrigger.write_config()
            outrigger.ctl("reload")
            assert outrigger.get("/page", host=f"more{number}.test").body == f"more {number}".encode()
    assert load.failures == [] and load.count > 0


@pytest.mark.skipif(SANITIZED, reason="a build with sanitizers may open every path")
def test_a_link_out_of_the_directory_is_refused_by_the_kernel_too(make_outrigger, root):
    os.symlink("/etc/passwd", root / "passwd")
    outrigger = make_outrigger(config={"sites": [files_site(root)]})
    assert outrigger.get("/passwd").status == 403
