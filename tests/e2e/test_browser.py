"""A browser loads a page from the accelerator, over HTTP/2 and TLS."""
import shutil
import subprocess

import pytest

from harness.certificates import Authority, TlsOutrigger, pair
from harness.outrigger import SLOW

PAGE = """<!doctype html><title>t</title><link rel=stylesheet href=/style.css><p id=p>empty</p><script src=/script.js></script>"""


@pytest.mark.skipif(not shutil.which("chromium"), reason="there is no Chromium here")
def test_chromium_loads_a_page(tmp_path, origin):
    origin.on("/", lambda request: request.answer(PAGE, fields={"Content-Type": "text/html", "Cache-Control": "max-age=60"}))
    origin.on("/style.css", lambda request: request.answer("p { color: red }", fields={"Content-Type": "text/css", "Cache-Control": "max-age=60"}))
    origin.on("/script.js", lambda request: request.answer("document.getElementById('p').textContent = 'by script ' + performance.getEntriesByType('navigation')[0].nextHopProtocol",
                                                           fields={"Content-Type": "text/javascript", "Cache-Control": "max-age=60"}))
    certificate = Authority(tmp_path).issue("www.example.org")
    edge = TlsOutrigger(tmp_path, [{"hosts": ["www.example.org"], "origin": origin.url, "tls": pair(certificate)}])
    try:
        done = subprocess.run(["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--ignore-certificate-errors", "--no-first-run",
                               f"--user-data-dir={tmp_path}/profile", "--host-resolver-rules=MAP www.example.org 127.0.0.1", "--virtual-time-budget=2000", "--dump-dom",
                               f"https://www.example.org:{edge.tls_port}/"], capture_output=True, text=True, timeout=60 * SLOW)
        assert "by script h2" in done.stdout, done.stdout + done.stderr
        assert {"/", "/style.css", "/script.js"} <= {r.target for r in origin.requests}
        assert edge.metric("outrigger_http2_streams_total") >= 3
    finally:
        edge.stop()
