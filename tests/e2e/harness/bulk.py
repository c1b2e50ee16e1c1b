"""Bodies too large to hold: made block by block, and checked byte by byte as they arrive."""
BLOCK = 65536


def block(index):
    return index.to_bytes(8, "big") * (BLOCK // 8)


def blocks(total):
    """The body of `total` bytes, in pieces."""
    for index in range(total // BLOCK):
        yield block(index)
    if total % BLOCK:
        yield block(total // BLOCK)[: total % BLOCK]


def body_of(target, size=20000):
    """A body that tells which target it belongs to."""
    word = target.encode() + b"."
    return (word * (size // len(word) + 1))[:size]


class Check:
    """feed() is given the body as it arrives, in pieces of any size; `count` is how much was right so far."""

    def __init__(self):
        self.count = 0

    def feed(self, data):
        data = memoryview(data)
        while data:
            at = self.count % BLOCK
            piece = data[: BLOCK - at]
            assert piece == block(self.count // BLOCK)[at : at + len(piece)], f"a wrong byte within {len(piece)} of {self.count}"
            self.count += len(piece)
            data = data[len(piece) :]


def receive(connection, total, check=None):
    """Reads from a Connection until `check` has seen `total` bytes, or to the end of the stream; returns how many it has seen."""
    check = check or Check()
    left = total - check.count
    first, connection.buffer = connection.buffer[:left], connection.buffer[left:]
    check.feed(first)
    while check.count < total:
        data = connection.socket.recv(min(1 << 18, total - check.count))
        if not data:
            break
        check.feed(data)
    return check.count
