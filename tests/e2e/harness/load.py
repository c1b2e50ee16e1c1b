"""Clients that ask again and again, on kept connections, until they are told to stop. Every answer is checked; what goes wrong is kept."""
import itertools
import threading

from .http import Connection, Truncated


class Load:
    """`targets`: {target: body}, which each of the `clients` threads goes round; "{}" in a target becomes a number that no other request has, and its body
    may be a function of that number. `kept=False`: a new connection for each request."""

    def __init__(self, outrigger, targets, clients=4, kept=True, timeout=60.0):
        self.port, self.targets, self.kept, self.timeout = outrigger.port, list(targets.items()), kept, timeout
        self.numbers = itertools.count()
        self.counts, self.failures = [0] * clients, []
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        """No more requests; those under way are waited for. Returns how many were answered."""
        self.ending.set()
        for thread in self.threads:
            thread.join(self.timeout + 5)
            assert not thread.is_alive(), "a client is still waiting"
        return self.count

    @property
    def count(self):
        """Right answers so far."""
        return sum(self.counts)

    def _run(self, number):
        connection, at = None, number
        while not self.ending.is_set():
            target, body = self.targets[at % len(self.targets)]
            at += 1
            unique = next(self.numbers)
            target, body = target.format(unique), body(unique) if callable(body) else body
            try:
                connection = connection or Connection(self.port, timeout=self.timeout)
                answer = connection.request(target)
                if answer.status == 200 and answer.complete and answer.body == body:
                    self.counts[number] += 1
                else:
                    self.failures.append((target, answer.status, answer.complete, len(answer.body), answer.body[:200]))
                if not self.kept or answer.get("connection") == "close":
                    connection.close()
                    connection = None
            except (OSError, Truncated) as failure:
                self.failures.append((target, repr(failure)))
                connection = None
        if connection:
            connection.close()
