"""What the command lines of measurements share, and how one begins and ends."""
import argparse
import contextlib
import os
import pathlib
import platform
import shutil
import signal
import sys
import tempfile
import time

import servers


def parser(doc, seconds):
    made = argparse.ArgumentParser(description=doc.split("\n")[0])
    made.add_argument("--seconds", type=float, default=seconds)
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--first", action="store_true", help="for a machine that is not idle: what is measured comes before everything else; needs root")
    return made


def parser_with_limits(doc, seconds, warm_up):
    """Of measurements whose servers are held to so much memory and so many reads."""
    made = parser(doc, seconds)
    made.add_argument("--memory", type=int, default=300, help="MB for a server, page cache included")
    made.add_argument("--reads", type=int, default=1500, help="disk reads a second")
    made.add_argument("--warm-up", type=float, default=warm_up)
    made.add_argument("--directory", default="/var/tmp", help="where the caches lie: on the disk that is held back")
    made.add_argument("--json", type=pathlib.Path, help="write the figures there as well")
    made.add_argument("--quick", action="store_true", help="little of everything, one short round: to see that it works")
    return made


def parse(made):
    options = made.parse_args()
    if options.first:
        servers.come_first()
    return options


def machine():
    processor = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    return {"processor": processor, "cores": os.cpu_count(), "kernel": platform.release(), "when": time.strftime("%Y-%m-%d", time.gmtime())}


def where_and_when():
    return "{processor}, {cores} cores, Linux {kernel}, {when}".format(**machine())


def end(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # cleaning up is not interrupted
    sys.exit("ended by a signal")


@contextlib.contextmanager
def workplace(prefix, directory=None):
    """A directory that is removed in the end, also when the measurement is told to end."""
    signal.signal(signal.SIGTERM, end)
    top = pathlib.Path(tempfile.mkdtemp(prefix=prefix, dir=directory))
    top.chmod(0o755)
    try:
        yield top
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is ending
        shutil.rmtree(top)
