"""Waiting for a condition, never for a length of time."""
import time


def until(condition, timeout=30.0, what="condition"):
    """Returns the first true value of condition(); fails after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"timed out after {timeout} s waiting for {what}")
        time.sleep(0.005)


# What has to come before a deadline of the server's comes too late when the machine has other things to do: that says nothing about the server.

ATTEMPTS = 20


def in_time(begin, limit):
    """begin()'s value, of the first time that it takes no longer than `limit` seconds."""
    for _ in range(ATTEMPTS):
        started = time.monotonic()
        try:
            value = begin()
        except Exception:
            if time.monotonic() - started <= limit:
                raise
            continue
        if time.monotonic() - started <= limit:
            return value
    raise AssertionError(f"never within {limit} s, {ATTEMPTS} times")


def at_pace(attempt, limit):
    """Returns attempt(pace), which calls pace() between its steps. Where it fails, and one of them took longer than `limit` seconds, it is tried again."""
    for left in reversed(range(ATTEMPTS)):
        moments = [time.monotonic()]
        try:
            return attempt(lambda: moments.append(time.monotonic()))
        except Exception:
            moments.append(time.monotonic())
            if not left or all(later - earlier <= limit for earlier, later in zip(moments, moments[1:])):
                raise
