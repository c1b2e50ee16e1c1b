"""An accelerator with a disk tier, and what can be done to its files."""
import os
import signal

from .outrigger import SLOW
from .poll import until


def with_store(make_outrigger, origin, path, size="64MiB", **options):
    config = {"cache": {"memory": "32MiB", "disk": [{"path": str(path), "size": size}]}}
    config["cache"].update(options.pop("cache", {}))
    config.update(options.pop("config", {}))
    return make_outrigger(origin=origin.url, config=config, **options)


def await_written(outrigger, records):
    """At least so many records can be found on disk, and nothing waits to be written: of what clients have got either, which is offered before its fill ends."""
    until(lambda: outrigger.metric("outrigger_cache_fills") == 0, timeout=30 * SLOW, what="everything to be offered")
    until(
        lambda: outrigger.metric("outrigger_store_records") >= records and outrigger.metric("outrigger_store_queue_bytes") == 0,
        timeout=30 * SLOW,
        what=f"{records} records on disk",
    )


def await_recovered(outrigger):
    until(lambda: outrigger.metric("outrigger_store_recovering") == 0, timeout=30 * SLOW, what="the disk tier to be found again")


def restart(outrigger, how=signal.SIGTERM):
    """`how` SIGKILL: the whole family, at once. Returns when what is on disk can be found."""
    if how == signal.SIGKILL:
        kill_family(outrigger)
    else:
        outrigger.send_signal(how)
        outrigger.process.wait(20 * SLOW)
    outrigger.notify.close()
    outrigger.output.close()
    outrigger.start()
    await_recovered(outrigger)


def kill_family(outrigger):
    """As a power cut ends them: nobody can do anything any more. The supervisor first, that it may not start others."""
    family = [outrigger.process.pid] + [pid for role in ("proxy", "store", "disk", "resolver", "log") for pid in outrigger.children(role)]
    for pid in family:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    outrigger.process.wait(20 * SLOW)
    for pid in family[1:]:
        until(lambda: not os.path.exists(f"/proc/{pid}") or open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] == "Z", what="its end")
