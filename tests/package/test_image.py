"""The container image: built from the Dockerfile on a clean Debian, started as it says, asked, looked after, stopped. Needs root and Debian's mirror; no
daemon and no registry: buildah builds and runs it in a chroot."""
import json
import os

import pytest

from clean import ROOT, debian, run

BASE = "docker.io/library/debian:12-slim"
RUN = """
    set -eu
    ip link set lo up
    {buildah} run --user {user} {container} -- {command} >{output} 2>&1 &
    for i in $(seq 300); do curl -so /dev/null http://127.0.0.1:8080/ && break; sleep 0.1; done
    curl -s -D - http://127.0.0.1:8080/
    {buildah} run --user {user} {container} -- {health}
    outrigger=$(pgrep -o -f '^{command}')
    grep ^Uid: /proc/$outrigger/status
    kill -{stop} $outrigger
    wait
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can build an image this way")


@pytest.fixture(scope="module")
def buildah(tmp_path_factory):
    directory = tmp_path_factory.mktemp("images")
    words = ["buildah", "--root", directory / "root", "--runroot", directory / "run", "--storage-driver", "vfs"]

    def command(*more):
        return run(*words, *more, env={**os.environ, "BUILDAH_ISOLATION": "chroot"}).strip()

    command.words = " ".join(map(str, words))
    return command


@pytest.fixture(scope="module")
def image(buildah, tmp_path_factory):
    base, source = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("source")
    scratch = buildah("from", "scratch")
    buildah("copy", "-q", scratch, debian(base), "/")
    buildah("commit", "-q", "--rm", scratch, BASE)
    run("sh", "-c", f"git ls-files -z | tar --null -T - -cf - | tar -xf - -C {source}", cwd=ROOT)
    buildah("build", "--pull=never", "--format", "docker", "-q", "-f", source / "packaging" / "Dockerfile", "-t", "outrigger", source)
    return json.loads(buildah("inspect", "--type", "image", "outrigger"))["Docker"]["config"]


def test_the_image_serves_as_nobody_special_and_tells_how_it_is(buildah, image, tmp_path):
    health = image["Healthcheck"]["Test"]
    assert image["User"] == "outrigger" and health[0] == "CMD" and image["StopSignal"] == "SIGQUIT"
    script = RUN.format(buildah=buildah.words, user=image["User"], container=buildah("from", "--pull=never", "outrigger"), output=tmp_path / "output",
                        command=" ".join(image["Entrypoint"] + image["Cmd"]), health=" ".join(health[1:]), stop=image["StopSignal"].removeprefix("SIG"))
    said = run("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, env={**os.environ, "BUILDAH_ISOLATION": "chroot"})
    output = (tmp_path / "output").read_text()
    assert "HTTP/1.1 200 OK" in said and "Cache-Status: outrigger" in said, said + output
    assert '"requests"' in said
    assert "Uid:\t0\t" not in said
    assert "stopped" in output and "GET / HTTP/1.1" in output
