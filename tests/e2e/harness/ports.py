"""Loopback ports that are free now, and below those that the kernel hands out to clients: nobody else takes one before it is bound."""
import random
import socket

FIRST, LAST = 10240, 32767
given = set()


def free_port():
    while True:
        port = random.randint(FIRST, LAST)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in given:
            given.add(port)
            return port
