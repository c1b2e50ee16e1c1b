"""The sample configurations: each is valid as it stands, and serves once its addresses and paths are of this machine."""
import http.client
import pathlib
import re
import ssl
import subprocess

import pytest
import yaml

from harness.authority import Authority
from harness.outrigger import BINARY
from harness.ports import free_port

CONF = pathlib.Path(__file__).resolve().parents[2] / "conf"
SAMPLES = sorted(path.name for path in CONF.glob("*.yaml"))
LIVE = "/etc/letsencrypt/live/"


def sample(name, directory):
    """(its text, with certificates that exist; their authority, or None)."""
    text, authority = (CONF / name).read_text(), None
    for host in sorted(set(re.findall(f"{LIVE}([^/]+)/", text))):
        authority = authority or Authority(directory)
        certificate, key = authority.issue(host)
        text = text.replace(f"{LIVE}{host}/fullchain.pem", str(certificate)).replace(f"{LIVE}{host}/privkey.pem", str(key))
    return text, authority


def for_this_machine(config, origin, directory):
    """The same with addresses, directories and logs of the test's; what it says of caching stays."""
    tls_port = free_port()
    for key in ("user", "admin", "access_log", "error_log", "workers"):
        config.pop(key, None)
    listeners = config.pop("listen", [])
    with_tls = [{**each, "address": f"127.0.0.1:{tls_port}"} for each in listeners if isinstance(each, dict) and each.get("tls") == "true"]
    for number, disk in enumerate(config.get("cache", {}).get("disk", [])):
        disk.update(path=str(directory / f"store{number}"), size="64MiB")
    config.setdefault("cache", {}).update(memory="32MiB", object_max="8MiB")
    for site in config["sites"]:
        origins = site["origin"] if isinstance(site["origin"], list) else [site["origin"]]
        is_files = origins[0].startswith("files:")
        site["origin"] = f"files:{directory}" if is_files else [origin.url for _ in origins] if len(origins) > 1 else origin.url
    return {**config, **({"listen": with_tls} if with_tls else {})}, tls_port if with_tls else None


def get_by_tls(port, host, authority):
    context = ssl.create_default_context(cafile=authority.file)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.connect()
    connection.sock = context.wrap_socket(connection.sock, server_hostname=host)
    connection.request("GET", "/page", headers={"Host": host})
    answer = connection.getresponse()
    found = answer.status, answer.read(), answer.headers["Cache-Status"]
    connection.close()
    return found


def get_plainly(outrigger, host):
    answer = outrigger.get("/page", host=host)
    return answer.status, answer.body, answer.get("cache-status")


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_valid(tmp_path, name):
    (tmp_path / name).write_text(sample(name, tmp_path)[0].replace("/var/log/outrigger", str(tmp_path)))
    done = subprocess.run([BINARY, "-t", "-c", str(tmp_path / name)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_serves(make_outrigger, origin, tmp_path, name):
    (tmp_path / "page").write_text("page")
    origin.on("/page", lambda request: request.answer(b"page", fields={"Cache-Control": "max-age=60"}))
    text, authority = sample(name, tmp_path)
    config, tls_port = for_this_machine(yaml.load(text, yaml.BaseLoader), origin, tmp_path)  # `off` is a word here
    outrigger = make_outrigger(config=config)
    for site in config["sites"]:
        host = site["hosts"][0].replace("*.", "some.").replace("*", "any.test")
        for word in ("fwd", "hit"):
            status, body, explained = get_by_tls(tls_port, host, authority) if tls_port else get_plainly(outrigger, host)
            assert (status, body) == (200, b"page") and word in explained, host
    assert "sandbox" not in outrigger.output_text() + outrigger.errors()
