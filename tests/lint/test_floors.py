"""The floors are kept: each forbidden include is caught where it stands, and what is allowed passes."""
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def lint(tmp_path: Path, files: dict[str, str]) -> list[str]:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    done = subprocess.run([sys.executable, HERE / "floors.py", tmp_path], capture_output=True, text=True, check=False)
    complaints = done.stderr.splitlines()
    assert done.returncode == (1 if complaints else 0)
    return complaints


@pytest.mark.parametrize("file, include", [
    # upwards
    ("base/arena.c", '"cache/cache.h"'),
    ("base/headers.tbl", '"proxy/net/loop.h"'),
    ("cache/fill.c", '"proxy/net/loop.h"'),
    ("helpers/channel.h", '"proxy/boot.h"'),
    ("proxy/net/loop.c", '"proxy/origin/origin.h"'),
    ("proxy/origin/pool.c", '"proxy/request/request.h"'),
    ("proxy/admin/admin.c", '"proxy/request/request.h"'),
    ("proxy/request/request.c", '"proxy/client/h1.h"'),
    ("proxy/client/h1.c", '"proxy/listener.h"'),
    ("proxy/listener.c", '"proxy/boot/boot.h"'),
    # sideways
    ("cache/disk/append.c", '"helpers/disk_client.h"'),
    ("helpers/disk_main.c", '"cache/cache.h"'),
    ("proxy/config/config.c", '"proxy/observe/metrics.h"'),
    ("proxy/observe/access_log.c", '"helpers/log_client.h"'),
    ("cache/evict.c", '"proxy/config/config.h"'),
    # policy is pure
    ("cache/policy/reuse.c", '"cache/index.h"'),
    # libraries
    ("cache/cache.c", "<uv.h>"),
    ("proxy/origin/pool.c", "<uv.h>"),
    ("proxy/net/connection.c", "<openssl/ssl.h>"),
    ("proxy/request/request.c", "<llhttp.h>"),
    ("proxy/client/h2_session.c", "<nghttp2/nghttp2.h>"),
    ("helpers/resolver_client.c", "<ares.h>"),
    ("proxy/origin/pool.c", "<ares.h>"),
    ("proxy/boot/boot.c", "<libfyaml.h>"),
    ("cache/disk/append.c", "<xxhash.h>"),
    # not named from the root
    ("cache/fill.c", '"key.h"'),
    ("proxy/net/loop.c", '"../origin/origin.h"'),
])
def test_a_forbidden_include_is_caught_where_it_stands(tmp_path, file, include):
    complaints = lint(tmp_path, {file: f"/* first line */\n#include {include}\n"})
    assert len(complaints) == 1
    assert complaints[0].startswith(f"{file}:2: ")
    assert include.strip('"<>') in complaints[0]


@pytest.mark.parametrize("file, include", [
    ("base/arena.c", '"base/arena.h"'),
    ("base/error.h", '"base/error.tbl"'),
    ("base/hash.c", "<xxhash.h>"),
    ("cache/fill.c", '"cache/policy/storable.h"'),
    ("cache/policy/reuse.c", '"cache/policy/freshness.h"'),
    ("helpers/names.c", "<ares.h>"),
    ("proxy/config/parse.c", "<libfyaml.h>"),
    ("proxy/net/loop.c", "<uv.h>"),
    ("proxy/net/tls_context.c", "<openssl/ssl.h>"),
    ("proxy/origin/h1_fetch.c", "<llhttp.h>"),
    ("proxy/origin/origin.c", '"cache/fill.h"'),
    ("proxy/client/h1.c", "<llhttp.h>"),
    ("proxy/client/h2_decoder.c", "<nghttp2/nghttp2.h>"),
    ("proxy/request/request.c", '"proxy/admin/admin.h"'),
    ("proxy/listener.c", '"proxy/client/h1.h"'),
    ("proxy/main.c", '"proxy/boot/boot.h"'),
    ("proxy/boot/boot.c", '"proxy/reload.h"'),
    ("cache/cache.c", "<stdio.h>"),
])
def test_an_include_that_goes_down_passes(tmp_path, file, include):
    assert lint(tmp_path, {file: f"#include {include}\n"}) == []


def test_every_complaint_of_a_tree_is_shown(tmp_path):
    complaints = lint(tmp_path, {
        "base/list.c": '#include "base/list.h"\n\n  #  include "cache/key.h"\n#include <uv.h>\n',
        "cache/key.c": '// #include "proxy/main.h"\n#include "helpers/wire.h"\n',
    })
    assert [complaint.split(": ")[0] for complaint in complaints] == ["base/list.c:3", "base/list.c:4", "cache/key.c:2"]


def test_a_file_on_no_floor_is_caught(tmp_path):
    complaints = lint(tmp_path, {"proxy/utils/misc.c": "\n"})
    assert len(complaints) == 1
    assert complaints[0].startswith("proxy/utils/misc.c:1: ")


def test_this_repository_keeps_its_floors():
    done = subprocess.run([sys.executable, HERE / "floors.py", HERE.parent.parent], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
