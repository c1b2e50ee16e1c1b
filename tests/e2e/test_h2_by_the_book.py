"""Long conversations with python3-h2, which keeps the states and windows of both sides and raises at the first frame that the server may not send.
H2_CONVERSATIONS=100: more of them."""
import os
import random
import select
import socket

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import pytest

from harness.h2 import request, serve_http2
from harness.outrigger import SLOW

SIZES = (0, 1, 100, 1024, 16384, 16385, 70_000, 300_000)


def content(size):
    return bytes(n % 251 for n in range(min(size, 4096))) * (size // 4096 + 1)


@pytest.fixture(scope="module")
def server(back, make_module_outrigger):
    for size in SIZES:
        back.on(f"/size/{size}", content(size)[:size])
    back.on("/echo", lambda request: request.answer(request.body, fields={"Cache-Control": "no-store"}))
    return serve_http2(make_module_outrigger, {"http2": {"resets": 100_000, "control_frames": 1_000_000}}, origin=back.url)


class Talk:
    """Streams that are asked for, sent and answered at random; each response is compared when it ends."""

    def __init__(self, port, seed):
        self.chance = random.Random(seed)
        self.peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.wire = socket.create_connection(("127.0.0.1", port))
        self.wire.settimeout(20 * SLOW)
        self.peer.initiate_connection()
        self.unacknowledged = 1
        self.next_stream, self.expected, self.got, self.unsent, self.finished = 1, {}, {}, {}, 0

    def begin(self):
        stream, self.next_stream = self.next_stream, self.next_stream + 2
        fields = [(f"x-{n}", str(self.chance.randrange(25))) for n in range(self.chance.randrange(4))]
        if self.chance.randrange(3) == 0:
            body = content(200_000)[: self.chance.choice((0, 5, 20_000, 200_000))]
            self.peer.send_headers(stream, request("/echo", "POST", fields=fields))
            self.unsent[stream], self.expected[stream] = body, body
        else:
            size = self.chance.choice(SIZES)
            self.peer.send_headers(stream, request(f"/size/{size}", self.chance.choice(("GET", "GET", "HEAD")), fields=fields), end_stream=True)
            self.expected[stream] = content(size)[:size]
        self.got[stream] = b""

    def upload(self):
        for stream, body in list(self.unsent.items()):
            room = min(self.peer.local_flow_control_window(stream), self.peer.max_outbound_frame_size, len(body))
            padding = self.chance.choice((None, 3, 200))
            if padding is not None and room:
                room = max(0, min(room, self.peer.local_flow_control_window(stream) - padding - 1, self.peer.max_outbound_frame_size - padding - 1))
            if room or not body:
                self.peer.send_data(stream, body[:room], end_stream=room == len(body), pad_length=padding if room else None)
                self.unsent[stream] = body[room:]
            if not self.unsent[stream]:
                if body and room < len(body):
                    continue
                del self.unsent[stream]

    def forget(self, stream):
        for table in (self.expected, self.got, self.unsent):
            table.pop(stream, None)

    def disturb(self):
        what = self.chance.randrange(12)
        if what == 0 and self.expected:
            stream = self.chance.choice(list(self.expected))
            self.peer.reset_stream(stream, 8)
            self.forget(stream)
        elif what == 1:
            self.peer.ping(b"12345678")
        elif what == 2:
            self.set(h2.settings.SettingCodes.INITIAL_WINDOW_SIZE, self.chance.choice((2000, 65535, 1 << 20)))
        elif what == 3:
            self.set(h2.settings.SettingCodes.HEADER_TABLE_SIZE, self.chance.choice((0, 100, 4096, 65536)))

    def set(self, setting, value):
        """One after the other: python3-h2 takes the first acknowledgement for all that it has said."""
        if self.unacknowledged == 0:
            self.peer.update_settings({setting: value})
            self.unacknowledged = 1

    def open_window(self, event):
        try:
            if event.flow_controlled_length:
                self.peer.increment_flow_control_window(event.flow_controlled_length, event.stream_id)
        except (h2.exceptions.StreamClosedError, KeyError):
            pass  # its end is among the events behind this one

    def take(self, event):
        if isinstance(event, h2.events.ResponseReceived) and event.stream_id in self.expected:
            assert dict(event.headers)[":status"] == "200"
        elif isinstance(event, h2.events.DataReceived):
            self.peer.increment_flow_control_window(event.flow_controlled_length) if event.flow_controlled_length else None
            if event.stream_id in self.expected:
                self.got[event.stream_id] += event.data
                self.open_window(event)
        elif isinstance(event, h2.events.StreamEnded) and event.stream_id in self.expected:
            assert self.got[event.stream_id] in (self.expected[event.stream_id], b"")  # of HEAD: nothing
            assert event.stream_id not in self.unsent
            self.forget(event.stream_id)
            self.finished += 1
        elif isinstance(event, h2.events.SettingsAcknowledged):
            self.unacknowledged -= 1
        elif isinstance(event, h2.events.StreamReset):
            assert event.stream_id not in self.expected, event
        assert not isinstance(event, h2.events.ConnectionTerminated), event

    def exchange(self):
        said = self.peer.data_to_send()
        while said:
            self.wire.sendall(said[: (cut := self.chance.choice((7, 100, 5000, 1 << 20)))])
            said = said[cut:]
        if self.expected and select.select([self.wire], [], [], 0.01)[0]:
            for event in self.peer.receive_data(self.wire.recv(self.chance.choice((100, 10_000, 1 << 18)))):
                self.take(event)

    def run(self, requests):
        while self.finished < requests or self.expected:
            while len(self.expected) < 20 and self.finished + len(self.expected) < requests:
                self.begin()
            self.upload()
            self.disturb()
            self.exchange()
        self.wire.close()


@pytest.mark.parametrize("seed", range(int(os.environ.get("H2_CONVERSATIONS", 2))))
def test_conversations(server, seed):
    Talk(server.port, seed).run(40)
