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
