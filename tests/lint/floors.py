"""Checks that includes only go down the floors of the house, and that each library is known in one place only.

DESIGN §3: a file may include its own part and the parts below; parts of one floor never include one another. `floors.py [ROOT]`
prints `file:line: what is wrong` for each include that breaks this, and exits with 1 when there is one.
"""
import re
import sys
from pathlib import Path
from typing import Iterator, NamedTuple, Optional

# A part is a path prefix; the longest that fits a file wins. Parts with one name are one part.
PARTS = {
    # prefix: (floor, name)
    "base/": (0, "base"),
    "cache/": (1, "cache"),
    "helpers/": (1, "helpers"),
    "proxy/config/": (1, "proxy/config"),
    "proxy/observe/": (1, "proxy/observe"),
    "proxy/net/": (2, "proxy/net"),
    "proxy/origin/": (3, "proxy/origin"),
    "proxy/admin/": (4, "proxy/admin"),
    "proxy/request/": (5, "proxy/request"),
    "proxy/client/": (6, "proxy/client"),
    "proxy/listener": (7, "proxy/listener"),
    "proxy/greeting": (7, "proxy/listener"),
    "proxy/boot": (8, "the composition root"),
    "proxy/reload": (8, "the composition root"),
    "proxy/main": (8, "the composition root"),
}

# Below a floor: files that may only include the named prefixes.
NARROWER = {
    "cache/policy/": ("base/", "cache/policy/"),  # pure functions
}

# Who may know a library, by the header that it is known by.
LIBRARIES = [
    # (pattern of the header, name, prefixes of the files that may include it)
    (r"uv\.h|uv/.*", "libuv", ("proxy/net/",)),
    (r"openssl/.*", "OpenSSL", ("proxy/net/tls",)),
    (r"llhttp\.h", "llhttp", ("proxy/client/h1", "proxy/origin/h1")),
    (r"nghttp2/.*", "nghttp2", ("proxy/client/h2_decoder",)),
    (r"ares.*\.h", "c-ares", ("helpers/names.c",)),
    (r"libfyaml\.h|libfyaml/.*", "libfyaml", ("proxy/config/",)),
    # libfyaml exports the functions of an older copy: xxhash is compiled into one place and linked nowhere.
    (r"xxhash\.h|xxh3\.h", "xxhash", ("base/hash.c", "base/store_format.c")),
    (r"liburing\.h|liburing/.*", "liburing", ("helpers/store_ring.c",)),
    (r"seccomp\.h", "libseccomp", ("helpers/sandbox.c",)),
]

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"(?P<own>[^"]+)"|<(?P<system>[^>]+)>)')
SOURCES = ("*.c", "*.h", "*.tbl")
ROOTS = ("base", "cache", "helpers", "proxy")


class Complaint(NamedTuple):
    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


def part_of(path: str) -> Optional[tuple[int, str]]:
    fitting = [prefix for prefix in PARTS if path.startswith(prefix)]
    return PARTS[max(fitting, key=len)] if fitting else None


def check_own_include(file: str, included: str) -> Optional[str]:
    above, below = part_of(file), part_of(included)
    if below is None:
        return f'"{included}" is on no floor; own headers are named from the root of the repository'
    for prefix, allowed in NARROWER.items():
        if file.startswith(prefix) and not included.startswith(allowed):
            return f'{prefix} may include only {" and ".join(allowed)}, not "{included}"'
    if above == below or above[0] > below[0]:
        return None
    if above[0] == below[0]:
        return f'{above[1]} and {below[1]} are siblings on floor {above[0]} and must not meet: "{included}"'
    return f'{above[1]} (floor {above[0]}) must not include upwards "{included}" ({below[1]}, floor {below[0]})'


def check_system_include(file: str, included: str) -> Optional[str]:
    for pattern, name, allowed in LIBRARIES:
        if re.fullmatch(pattern, included) and not file.startswith(allowed):
            return f'<{included}>: {name} is known only in {", ".join(allowed)}'
    return None


def check_file(root: Path, path: Path) -> Iterator[Complaint]:
    file = path.relative_to(root).as_posix()
    if part_of(file) is None:
        yield Complaint(file, 1, "this file is on no floor: give its part a row in tests/lint/floors.py")
        return
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        found = INCLUDE.match(line)
        if not found:
            continue
        text = check_own_include(file, found["own"]) if found["own"] else check_system_include(file, found["system"])
        if text:
            yield Complaint(file, number, text)


def check_tree(root: Path) -> list[Complaint]:
    paths = sorted(path for part in ROOTS for pattern in SOURCES for path in (root / part).rglob(pattern))
    return [complaint for path in paths for complaint in check_file(root, path)]


def main() -> int:
    complaints = check_tree(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
