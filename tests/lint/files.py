"""Checks of files as such: C files stay short, Python files compile, nothing says that it is unfinished.

`files.py FILE…` prints `file:line: what is wrong` and exits with 1 when anything is.
"""
import re
import sys
from pathlib import Path
from typing import Iterator

C_LINES_MAX = 700  # STYLE: files of 150–600 lines; past that, split by concern

# Spelled so that this file does not find itself.
UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b")


def check_file(path: Path) -> Iterator[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return  # a picture or a trace, not source
    lines = text.splitlines()
    if path.suffix in (".c", ".h") and len(lines) > C_LINES_MAX:
        yield f"{path}:{len(lines)}: {len(lines)} lines, {C_LINES_MAX} is the limit: split it by concern"
    for number, line in enumerate(lines, 1):
        found = UNFINISHED.search(line)
        if found:
            yield f"{path}:{number}: {found[0]}: finish it, or say what is missing where users read it"
    if path.suffix == ".py":
        try:
            compile(text, str(path), "exec")
        except SyntaxError as error:
            yield f"{path}:{error.lineno}: {error.msg}"


def main() -> int:
    complaints = [complaint for name in sys.argv[1:] if Path(name).is_file() for complaint in check_file(Path(name))]
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
