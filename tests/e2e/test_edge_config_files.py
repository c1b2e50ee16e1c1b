"""Files that a configuration names are a part of it: read with it, by who may, and checked before it serves."""

import pytest

from harness.outrigger import SLOW
from harness.poll import until


def tls(**settings):
    return {"origin_tls": {name: str(path) for name, path in settings.items()}}


def test_what_cannot_be_read_is_a_mistake_like_the_others(make_outrigger, tmp_path):
    (tmp_path / "key").write_text("x")
    outrigger = make_outrigger(site=tls(certificate=tmp_path / "missing", key=tmp_path / "key", ca=tmp_path), wait=False)
    assert outrigger.process.wait(20 * SLOW) != 0
    lines = (outrigger.directory / "output").read_text().splitlines()
    text = outrigger.config_path.read_text().splitlines()
    for path, why in (tmp_path / "missing", "No such file or directory"), (tmp_path, "Is a directory"):
        line = next(n for n, l in enumerate(text, 1) if l.endswith(f" {path}"))
        assert any(l.startswith(f"{outrigger.config_path}:{line}:") and l.endswith(f" error: {path}: cannot be read: {why}") for l in lines), lines


def test_one_that_is_far_too_large_is_refused(make_outrigger, tmp_path):
    (tmp_path / "large").write_bytes(b"x" * (1024 * 1024 + 1))
    outrigger = make_outrigger(site=tls(ca=tmp_path / "large"), wait=False)
    assert outrigger.process.wait(20 * SLOW) != 0
    assert "cannot be read: File too large" in outrigger.output_text()


@pytest.mark.parametrize("settings", [{"certificate": "/tmp/a"}, {"key": "/tmp/a"}])
def test_a_certificate_without_its_key(make_outrigger, settings):
    outrigger = make_outrigger(site=tls(**settings), wait=False)
    assert outrigger.process.wait(20 * SLOW) != 0
    assert "without its" in outrigger.output_text()


def test_a_reload_that_cannot_read_one_leaves_everything_as_it_was(make_outrigger, origin, tmp_path):
    origin.on("/page", b"page")
    outrigger = make_outrigger(origin=origin.url)
    outrigger.config["sites"][0].update(tls(ca=tmp_path / "missing"))
    outrigger.write_config()
    outrigger.reload()
    until(lambda: "the new configuration is refused" in outrigger.errors(), what="the reload to be refused")
    assert "cannot be read: No such file or directory" in outrigger.errors()
    assert outrigger.get("/page").body == b"page"
