"""Loopback ports that are free now, and below those that the kernel hands out to clients: nobody else takes one before it is bound.

A port is given to one test run alone, though several run side by side: each holds a lock on the port's byte of a file until it ends.
(Listeners with SO_REUSEPORT could otherwise share a port that two runs chose at the same time, and be sent each other's requests.)
"""
import fcntl
import os
import random
import socket
import tempfile

FIRST, LAST = 10240, 32767
given = set()
locks = os.open(os.path.join(tempfile.gettempdir(), f"outrigger-test-ports-{os.getuid()}"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def reserve(port):
    try:
        fcntl.lockf(locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def free_port():
    while True:
        port = random.randint(FIRST, LAST)
        if port in given or not reserve(port):
            continue
        given.add(port)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
