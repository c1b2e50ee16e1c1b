"""Reloads that change sites and their certificates while clients come over TLS, by HTTP/1 and HTTP/2: each is shown the right certificate and answered."""
import os
import ssl
import threading

import pytest

from harness.certificates import Authority, TlsOutrigger, pair, read_answer
from harness.h2 import H2
from harness.memory import resident_kib
from harness.outrigger import SLOW
from harness.poll import until

RELOADS = int(os.environ.get("RELOADS", "10"))  # from 500 on, memory is looked at, too
NAMES = ["one.test", "two.test", "three.test"]
GROWTH_KIB = 4096  # that is taken for noise


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def certificates(authority):
    """{name: (certificate, key) of each of its certificates}; the last is one that all names share."""
    shared = authority.issue(*NAMES)
    return {name: [authority.issue(name), authority.issue(name, f"www.{name}"), shared] for name in NAMES}


def contents(certificate):
    """As it is sent."""
    return ssl.PEM_cert_to_DER_cert(certificate[0].read_text())


class Clients:
    """A thread for each kind of client. `right`: {name: what may be shown for it}; a certificate must have been right before the handshake or after it."""

    def __init__(self, outrigger, authority, right):
        self.outrigger, self.right, self.failures, self.ending = outrigger, right, [], threading.Event()
        self.contexts = {protocol: ssl.create_default_context(cafile=authority.file) for protocol in ("http/1.1", "h2")}
        for protocol, context in self.contexts.items():
            context.set_alpn_protocols([protocol])
        kinds = [(protocol, keeps) for protocol in self.contexts for keeps in (False, True)]
        self.counts, self.handshakes = {kind: 0 for kind in kinds}, 0
        self.threads = [threading.Thread(target=self.run, args=(i, *kind), daemon=True) for i, kind in enumerate(kinds)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join(60 * SLOW)
            assert not thread.is_alive(), "a client is still waiting"

    def run(self, turn, protocol, keeps):
        kept = {}
        while not self.ending.is_set():
            turn += 1
            name = NAMES[turn % len(NAMES)]
            try:
                connection = kept.pop(name, None) or self.connect(name, protocol)
                status, body = self.ask(connection, name, protocol, f"/{turn % 50}")
                assert status == 200 and body == f"{name} /{turn % 50}".encode() * 100, (status, body[:100])
                self.counts[protocol, keeps] += 1
                if keeps and turn % 100:
                    kept[name] = connection
                else:
                    connection.close()
            except Exception as error:  # whatever it is, a client saw it
                self.failures.append((protocol, keeps, name, turn, repr(error)))
        for connection in kept.values():
            connection.close()

    def connect(self, name, protocol):
        before = self.right[name]

        if protocol == "h2":
            connection = H2(self.outrigger.tls_port, wrap=lambda plain: self.contexts[protocol].wrap_socket(plain, server_hostname=name))
            shown = connection.socket.getpeercert(binary_form=True)
        else:
            connection = self.outrigger.tls(name, self.contexts[protocol])
            shown = connection.getpeercert(binary_form=True)
        assert shown in before or shown in self.right[name], "a certificate that is not the site's"
        self.handshakes += 1
        return connection

    @staticmethod
    def ask(connection, name, protocol, target):
        if protocol == "h2":
            answer = connection.get(target, authority=name, scheme="https")
            assert answer.complete
            return answer.status, answer.body
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
        status, _, body = read_answer(connection)
        return status, body


def sites_of(turn, origins, certificates):
    """Those that clients ask for, each with another certificate and origin than before, and so many others."""
    chosen = {name: certificates[name][(turn + i) % 3] for i, name in enumerate(NAMES)}
    sites = [{"hosts": [name], "origin": origins[turn % 2].url, "tls": pair(certificate)} for name, certificate in chosen.items()]
    others = [{"hosts": [f"other-{turn}-{i}.test"], "origin": origins[0].url, "tls": pair(certificates[NAMES[i % 3]][0])} for i in range(turn * 7 % 20)]
    return sites + others, {name: [contents(certificate)] for name, certificate in chosen.items()}


def test_certificates_that_change_with_each_reload_fail_no_request_and_leave_no_memory_behind(tmp_path, make_origin, authority, certificates):
    origins = [make_origin(), make_origin()]
    for number, origin in enumerate(origins):
        stored = {"Cache-Control": "no-store" if number else "max-age=600"}
        origin.on("*", lambda request, stored=stored: request.answer(f"{request.get('Host')} {request.target}" * 100, fields=stored))
    sites, right = sites_of(0, origins, certificates)
    outrigger = TlsOutrigger(tmp_path, sites, listen={"http2": True})
    early = None
    try:
        with Clients(outrigger, authority, right) as clients:
            for turn in range(1, RELOADS + 1):
                outrigger.config["sites"], after = sites_of(turn, origins, certificates)
                outrigger.write_config()
                for name in NAMES:
                    right[name] = right[name] + after[name]
                outrigger.ctl("reload")
                right.update(after)  # from now on only these
                if turn == RELOADS // 5:
                    early = memory(outrigger)
            before = dict(clients.counts)
            until(lambda: clients.failures or all(clients.counts[kind] > before[kind] for kind in before), 60 * SLOW, "each client to be answered after the last")
        assert clients.failures == []
        late = memory(outrigger)
        print(f"{RELOADS} reloads, {sum(clients.counts.values())} requests, {clients.handshakes} handshakes; {early} KiB after a fifth, then {late} KiB")
        assert outrigger.metric("outrigger_config_generation") == RELOADS + 1
        assert RELOADS < 500 or late < early + GROWTH_KIB, f"{early} KiB after a fifth of them, {late} KiB after all"
    finally:
        outrigger.stop()


def memory(outrigger):
    return resident_kib(outrigger.children("proxy")[0]) + resident_kib(outrigger.process.pid)
