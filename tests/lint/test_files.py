"""Overlong C files, unfinished work and Python that does not compile are caught; other files pass."""
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def lint(path: Path, content: bytes) -> list[str]:
    path.write_bytes(content)
    done = subprocess.run([sys.executable, HERE / "files.py", path], capture_output=True, text=True, check=False)
    complaints = done.stderr.splitlines()
    assert done.returncode == (1 if complaints else 0)
    return complaints


@pytest.mark.parametrize("name, content, line", [
    ("long.c", b"int x;\n" * 701, 701),
    ("long.h", b"int x;\n" * 701, 701),
    ("later.c", b"int x;\n/* TO" b"DO: more */\n", 2),
    ("later.py", b"# FIX" b"ME\n", 1),
    ("later.md", b"a\nb\nTO" b"DO\n", 3),
    ("broken.py", b"x = 1\ndef f(:\n", 2),
])
def test_a_bad_file_is_caught(tmp_path, name, content, line):
    complaints = lint(tmp_path / name, content)
    assert len(complaints) == 1
    assert complaints[0].startswith(f"{tmp_path / name}:{line}: ")


@pytest.mark.parametrize("name, content", [
    ("full.c", b"int x;\n" * 700),
    ("table.txt", b"row\n" * 5000),
    ("words.c", b"int todo, mkstemp_XXXXXX;\n"),
    ("good.py", b"x = 1\n"),
    ("picture.png", b"\x89PNG\xff\xfe" b"TO" b"DO"),
])
def test_a_good_file_passes(tmp_path, name, content):
    assert lint(tmp_path / name, content) == []
