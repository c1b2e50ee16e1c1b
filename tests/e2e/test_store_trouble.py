"""The disk tier in trouble: files that are damaged, taken, full or gone; helpers that die or hang. Clients get right bytes from somewhere."""
import os
import random
import shutil
import signal
import subprocess

import pytest
from harness.load import Load
from harness.outrigger import BINARY, SLOW
from harness.poll import until
from harness.store import await_recovered, await_written, restart, with_store
from test_store import body_of, numbered

SUPERBLOCK, FIRST_SEGMENT = 4096, 1 << 20


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def filled(make_outrigger, origin, directory):
    """100 responses on disk; stopped."""
    origin.on("*", numbered)
    outrigger = with_store(make_outrigger, origin, directory)
    for n in range(100):
        outrigger.get(f"/{n}/6000")
    await_written(outrigger, 100)
    outrigger.send_signal(signal.SIGTERM)
    outrigger.process.wait(20 * SLOW)
    return outrigger


def start_again(outrigger):
    outrigger.notify.close()
    outrigger.output.close()
    outrigger.start()
    await_recovered(outrigger)


def read_all(outrigger):
    for n in range(100):
        response = outrigger.get(f"/{n}/6000")
        assert (response.status, response.body) == (200, body_of(n, 6000)), n


def check(directory):
    return subprocess.run([BINARY, "--check-store", str(directory)], capture_output=True, text=True, timeout=60 * SLOW)


# ---- damage ----


def test_a_sound_store_is_found_sound(filled, directory):
    done = check(directory)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("seed", range(3))
def test_flipped_bits_cost_misses_and_no_wrong_byte(filled, origin, directory, seed):
    chance = random.Random(seed)
    with open(directory / "outrigger.store", "r+b") as file:
        for _ in range(300):
            at = FIRST_SEGMENT + chance.randrange(1 << 20)
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 1 << chance.randrange(8)]))
    done = check(directory)
    assert done.returncode == 1, done.stdout
    asked = origin.count()
    start_again(filled)
    read_all(filled)
    assert 0 < origin.count() - asked < 100


def test_a_truncated_file_costs_what_was_cut_off(filled, origin, directory):
    os.truncate(directory / "outrigger.store", FIRST_SEGMENT + 300000)
    asked = origin.count()
    start_again(filled)
    read_all(filled)
    assert 0 < origin.count() - asked < 100


def test_a_file_that_is_removed_while_it_serves_hurts_nobody(make_outrigger, origin, directory):
    origin.on("*", numbered)
    outrigger = with_store(make_outrigger, origin, directory)
    outrigger.get("/1/6000")
    await_written(outrigger, 1)
    shutil.rmtree(directory)
    for n in range(50):
        assert outrigger.get(f"/{n}/6000").body == body_of(n, 6000)


# ---- refusals at the start ----


def refused(make_outrigger, origin, directory):
    outrigger = with_store(make_outrigger, origin, directory, wait=False)
    assert outrigger.process.wait(20 * SLOW) == 1
    return outrigger.output_text() + outrigger.errors()


def test_a_second_instance_is_refused(make_outrigger, origin, directory):
    with_store(make_outrigger, origin, directory)
    assert "in use" in refused(make_outrigger, origin, directory)


def test_a_store_of_a_newer_version_is_refused_and_left_as_it_is(filled, make_outrigger, origin, directory):
    path = directory / "outrigger.store"
    with open(path, "r+b") as file:
        file.seek(8)
        file.write((99).to_bytes(4, "little"))
    before = path.read_bytes()
    assert "version" in refused(make_outrigger, origin, directory)
    assert path.read_bytes() == before


def test_a_foreign_file_is_refused_and_left_as_it_is(make_outrigger, origin, directory):
    directory.mkdir()
    (directory / "outrigger.store").write_bytes(b"my thesis, the only copy\n" * 100)
    refused(make_outrigger, origin, directory)
    assert (directory / "outrigger.store").read_bytes() == b"my thesis, the only copy\n" * 100


def test_what_is_no_directory_is_refused(make_outrigger, origin, directory):
    directory.write_text("a file")
    assert str(directory) in refused(make_outrigger, origin, directory)


# ---- helpers ----


def test_hits_in_memory_flow_while_all_store_helpers_are_stopped(make_outrigger, origin, directory):
    origin.on("*", numbered)
    outrigger = with_store(make_outrigger, origin, directory, config={"helpers": {"deadline": "60s"}})
    for n in range(20):
        outrigger.get(f"/{n}/6000")
    await_written(outrigger, 20)
    restart(outrigger)
    outrigger.get("/0/6000")
    stopped = outrigger.children("store")
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    with Load(outrigger, {"/0/6000": body_of(0, 6000)}) as load:
        until(lambda: load.count >= 1000 or load.failures, timeout=60 * SLOW, what="hits")
        load.end()
        assert not load.failures
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    assert outrigger.get("/1/6000").body == body_of(1, 6000)


def test_store_helpers_killed_at_any_moment_fail_no_request(make_outrigger, origin, directory):
    origin.on("*", numbered)
    outrigger = with_store(make_outrigger, origin, directory, cache={"memory": "4MiB"})
    targets = {f"/{n}/60000": body_of(n, 60000) for n in range(200)}
    chance = random.Random(1)
    with Load(outrigger, targets) as load:
        for _ in range(10):
            goal = load.count + 100
            until(lambda: load.count >= goal or load.failures, timeout=60 * SLOW, what="requests")
            helpers = outrigger.children("store")
            if helpers:
                os.kill(chance.choice(helpers), signal.SIGKILL)
        load.end()
        assert not load.failures


def test_a_store_helper_that_hangs_is_replaced_and_nobody_fails(make_outrigger, origin, directory):
    origin.on("*", numbered)
    outrigger = with_store(make_outrigger, origin, directory, config={"helpers": {"deadline": f"{500 * SLOW}ms", "store": 1}})
    outrigger.get("/1/6000")
    await_written(outrigger, 1)
    restart(outrigger)
    (victim,) = outrigger.children("store")
    os.kill(victim, signal.SIGSTOP)
    assert outrigger.get("/1/6000").body == body_of(1, 6000)
    outrigger.await_children("store", 1, without=victim)


# ---- the architecture's claim ----


FILE_CALLS = "open,openat,openat2,creat,read,pread64,preadv,preadv2,write,pwrite64,pwritev,pwritev2,fsync,fdatasync,fallocate,stat,newfstatat,statx,lstat,io_uring_enter,sendfile,mmap"


def test_no_loop_thread_touches_a_file_system(make_outrigger, origin, directory, tmp_path):
    """DESIGN §1: the loop never blocks on a disk. Every system call of the proxy's threads that can, with what its descriptors are."""
    if not shutil.which("strace"):
        pytest.skip("strace is not there")
    origin.on("*", numbered)
    outrigger = with_store(make_outrigger, origin, directory, cache={"memory": "4MiB"})
    (proxy,) = outrigger.children("proxy")
    trace = tmp_path / "trace"
    tracer = subprocess.Popen(["strace", "-f", "-yy", "-qq", "-e", f"trace={FILE_CALLS}", "-o", str(trace), "-p", str(proxy)], stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: "TracerPid:\t0" not in open(f"/proc/{proxy}/status").read() or tracer.poll() is not None, what="the tracer")
        if tracer.poll() is not None:
            pytest.skip(f"strace cannot attach: {tracer.stderr.read()}")
        for _ in range(2):
            for n in range(120):
                assert outrigger.get(f"/{n}/60000").body == body_of(n, 60000)
        assert outrigger.metric("outrigger_store_hits_total") > 0
    finally:
        tracer.terminate()
        tracer.wait(20 * SLOW)
    harmless = ("socket:[", "TCP:", "TCPv6:", "UNIX", "pipe:[", "anon_inode:", "memfd:", "MAP_ANONYMOUS", "/proc/", "/dev/null", "/sys/devices/system/cpu", "/sys/fs/cgroup/")
    touched = [line for line in trace.read_text().splitlines() if "(" in line and not any(word in line for word in harmless) and "resumed>" not in line]
    assert not touched, touched[:5]
