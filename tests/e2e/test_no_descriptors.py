"""The proxy has no descriptor left: whoever is connected is served, and neither a helper's death nor a reload ends it."""
import os
import resource
import signal
import socket

from harness.poll import until


def descriptors(pid):
    return [int(fd) for fd in os.listdir(f"/proc/{pid}/fd")]


def fill(outrigger, proxy):
    """Clients until no more of them are accepted; the first is one that asks."""
    soft, hard = resource.prlimit(proxy, resource.RLIMIT_NOFILE)
    resource.prlimit(proxy, resource.RLIMIT_NOFILE, (max(descriptors(proxy)) + 20, hard))
    crowd = []

    def is_full():
        crowd.extend(socket.create_connection(("127.0.0.1", outrigger.port)) for _ in range(10))
        return "no descriptor left for a new client" in outrigger.errors()

    until(is_full, what="no descriptor to be left")
    return crowd


def test_a_proxy_without_descriptors_outlives_its_helpers_and_reloads(make_outrigger, origin):
    origin.on("/stored", lambda request: request.answer(b"stored", fields={"Cache-Control": "max-age=3600"}))
    outrigger = make_outrigger(origin=origin.url, config={"limits": {"connections": 10000}})
    (proxy,) = outrigger.children("proxy")
    with outrigger.connect() as client:
        assert client.request("/stored").body == b"stored"
        crowd = fill(outrigger, proxy)
        for role in ("log", "resolver", "disk"):
            victim = outrigger.children(role)[0]
            count = len(outrigger.children(role))
            os.kill(victim, signal.SIGKILL)
            outrigger.await_children(role, count, without=victim)
            assert client.request("/stored").body == b"stored"
        outrigger.send_signal(signal.SIGHUP)
        until(lambda: "the new configuration serves" in outrigger.errors(), what="the reload")
        assert client.request("/stored").body == b"stored"
        assert outrigger.children("proxy") == [proxy], outrigger.errors()
        for one in crowd:
            one.close()
        until(lambda: outrigger.get("/stored").status == 200, what="new clients to be served")
    assert outrigger.children("proxy") == [proxy]


def test_a_supervisor_without_descriptors_refuses_the_new_configuration_and_its_proxy_serves_on(make_outrigger, origin):
    origin.on("/stored", lambda request: request.answer(b"stored", fields={"Cache-Control": "max-age=3600"}))
    outrigger = make_outrigger(origin=origin.url, config={"access_log": None, "error_log": None})
    supervisor, (proxy,) = outrigger.process.pid, outrigger.children("proxy")
    soft, hard = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
    answers = lambda: outrigger.output_text().count("the new configuration is refused") + outrigger.output_text().count("the new configuration serves")
    with outrigger.connect() as client:
        assert client.request("/stored").body == b"stored"
        for room in range(8):
            used = set(descriptors(supervisor))
            free = [fd for fd in range(len(used) + room + 1) if fd not in used]
            resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (free[room], hard))
            before = answers()
            outrigger.send_signal(signal.SIGHUP)
            until(lambda: answers() > before or outrigger.children("proxy") != [proxy], what="the reload's end")
            resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (soft, hard))
            assert client.request("/stored").body == b"stored"
            assert outrigger.children("proxy") == [proxy], outrigger.output_text()
    assert "the new configuration is refused" in outrigger.output_text() and "the new configuration serves" in outrigger.output_text()
