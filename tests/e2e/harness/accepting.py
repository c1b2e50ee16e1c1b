"""A thread that accepts connections on a listener, and an end of both that leaves nothing behind.

A thread that still waits on a descriptor when that is closed may go on with whatever has its number next: it would take the connections of
a later test's server.
"""
import contextlib
import socket
import threading


class Accepting:
    """Calls accepted(client) for each connection, in a thread of its own. Owns the listener."""

    def __init__(self, listener, accepted):
        self.listener, self.accepted = listener, accepted
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        with contextlib.suppress(OSError):  # shut down
            while True:
                self.accepted(self.listener.accept()[0])

    def stop(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join(5)
        if self.thread.is_alive():  # it is busy with a client: better a leaked descriptor than another's
            return
        self.listener.close()
