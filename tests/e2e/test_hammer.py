"""A cache far too small for what is asked of it, on four loops: hits while it evicts, purges and reloads at full speed. No byte is wrong, and memory stays
within its limit.

HAMMER_REQUESTS sets how many requests there are, HAMMER_SEED which, HAMMER_MEMORY_MIB the cache's size; `make churn` makes ten million."""
import json
import os
import pathlib
import re
import signal
import subprocess

import pytest

from harness.outrigger import BINARY, SLOW, descendants, title
from harness.ports import free_port

HAMMER = pathlib.Path(BINARY).parent / "stress" / "hammer"
REQUESTS = int(os.environ.get("HAMMER_REQUESTS", "3000" if SLOW == 1 else "1500"))
SEED = os.environ.get("HAMMER_SEED", "1")
MEMORY_MIB = int(os.environ.get("HAMMER_MEMORY_MIB", "16"))
THREADS = 32
KEYS = 125 * MEMORY_MIB  # six times as many bytes
BESIDES_MIB = 20  # of a process without a cached byte: code and libraries, four loops, buffers of 32 connections and of those to the origin


@pytest.fixture
def hammered_origin():
    port = free_port()
    process = subprocess.Popen([HAMMER, "origin", str(port)])
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


def peak_mib(pid):
    """The most memory the process has had at once, the slab's pages included."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1)) / 1024


def reload_while(process, outrigger):
    while process.poll() is None:
        outrigger.process.send_signal(signal.SIGHUP)
        try:
            process.wait(0.1 * SLOW)
        except subprocess.TimeoutExpired:
            continue


@pytest.mark.threads
@pytest.mark.timeout(6 * 3600 if "HAMMER_REQUESTS" in os.environ else 300)
def test_no_byte_is_wrong_while_evicting_purging_and_reloading(make_outrigger, hammered_origin):
    config = {"workers": 4, "cache": {"memory": f"{MEMORY_MIB}MiB"}, "access_log": "off"}
    outrigger = make_outrigger(origin=hammered_origin, config=config)
    command = [HAMMER, "load", str(outrigger.port), str(REQUESTS), str(THREADS), str(KEYS), SEED]
    load = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    reload_while(load, outrigger)
    output, complaints = load.communicate()
    assert load.returncode == 0, complaints
    done = json.loads(output)
    assert done["answers"] > REQUESTS / 2 and done["hits"] > REQUESTS / 20 and done["purges"] > REQUESTS / 50
    proxy = next(pid for pid in descendants(outrigger.process.pid) if title(pid) == "outrigger: proxy")
    peak = peak_mib(proxy)
    fragmented = outrigger.metric("outrigger_cache_memory_bytes", kind="fragmented") / (MEMORY_MIB << 20)
    print(f"{done}, {peak:.0f} MiB at most, {100 * fragmented:.1f} % of the cache between its chunks")
    if SLOW == 1:  # a sanitizer has memory of its own
        assert peak <= MEMORY_MIB * 1.05 + BESIDES_MIB
