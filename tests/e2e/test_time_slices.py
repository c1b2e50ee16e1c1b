"""A loop that is woken comes before its helpers: its time slices are shorter (proxy/boot/slices.h)."""
import ctypes
import os
import platform
import struct

import pytest

SCHED_GETATTR = {"x86_64": 315, "aarch64": 275}.get(platform.machine())
SHORTEST_NS = 100_000


def slice_ns(tid):
    attributes = ctypes.create_string_buffer(48)
    assert ctypes.CDLL(None).syscall(SCHED_GETATTR, tid, attributes, 48, 0) == 0
    return struct.unpack_from("<Q", attributes, 24)[0]


@pytest.mark.skipif(SCHED_GETATTR is None, reason="the number of sched_getattr(2) is not known here")
@pytest.mark.skipif(os.sched_getscheduler(0) != os.SCHED_OTHER, reason="the tests themselves run by another policy")
@pytest.mark.skipif(tuple(map(int, platform.release().split(".")[:2])) < (6, 12), reason="the kernel has no slices that can be asked for")
def test_every_thread_of_the_proxy_has_short_slices_and_no_helper_has(make_outrigger, tmp_path):
    outrigger = make_outrigger(config={"workers": 2, "cache": {"disk": [{"path": str(tmp_path / "store"), "size": "64MiB"}]}})
    for pid in outrigger.children("proxy"):
        assert {slice_ns(int(tid)) for tid in os.listdir(f"/proc/{pid}/task")} == {SHORTEST_NS}
    for role in ("store", "disk", "resolver", "log"):
        assert all(slice_ns(pid) != SHORTEST_NS for pid in outrigger.children(role)), role
