"""The sample configurations: each is valid as it stands, and serves once its addresses and paths are of this machine."""
import pathlib
import subprocess

import pytest
import yaml

from harness.outrigger import BINARY

CONF = pathlib.Path(__file__).resolve().parents[2] / "conf"
SAMPLES = sorted(path.name for path in CONF.glob("*.yaml"))


def for_this_machine(config, origin, tmp_path):
    """The same with addresses, directories and logs of the test's; what it says of caching stays."""
    for key in ("user", "listen", "admin", "access_log", "error_log", "workers"):
        config.pop(key, None)
    for number, disk in enumerate(config.get("cache", {}).get("disk", [])):
        disk.update(path=str(tmp_path / f"store{number}"), size="64MiB")
    config.setdefault("cache", {}).update(memory="32MiB", object_max="8MiB")
    for site in config["sites"]:
        origins = site["origin"] if isinstance(site["origin"], list) else [site["origin"]]
        is_files = origins[0].startswith("files:")
        site["origin"] = f"files:{tmp_path}" if is_files else [origin.url for _ in origins] if len(origins) > 1 else origin.url
    return config


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_valid(name):
    done = subprocess.run([BINARY, "-t", "-c", str(CONF / name)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_serves(make_outrigger, origin, tmp_path, name):
    (tmp_path / "page").write_text("page")
    origin.on("/page", lambda request: request.answer(b"page", fields={"Cache-Control": "max-age=60"}))
    config = for_this_machine(yaml.load((CONF / name).read_text(), yaml.BaseLoader), origin, tmp_path)  # `off` is a word here
    outrigger = make_outrigger(config=config)
    for site in config["sites"]:
        host = site["hosts"][0].replace("*.", "some.").replace("*", "any.test")
        first = outrigger.get("/page", host=host)
        second = outrigger.get("/page", host=host)
        assert (first.status, first.body, second.status, second.body) == (200, b"page", 200, b"page"), host
        assert "hit" in second.get("cache-status"), host
    assert "sandbox" not in outrigger.output_text() + outrigger.errors()
