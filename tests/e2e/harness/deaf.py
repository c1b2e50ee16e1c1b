"""An address where connecting takes for ever: its queue of connections is full, so the kernel drops every SYN."""
import errno
import socket


class Deaf:
    def __init__(self, address=("127.0.0.1", 0)):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(address)
        self.listener.listen(0)
        self.address = self.listener.getsockname()
        self.queue = []
        while True:
            probe = socket.socket()
            probe.settimeout(0.2)
            self.queue.append(probe)
            try:
                probe.connect(self.address)
            except (socket.timeout, BlockingIOError):
                break
            except OSError as error:
                assert error.errno == errno.EINPROGRESS, error
                break

    @property
    def url(self):
        return "http://{}:{}".format(*self.address)

    def stop(self):
        for probe in self.queue:
            probe.close()
        self.listener.close()
