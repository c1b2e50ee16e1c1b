"""What the servers of one comparison share: the site's files, nginx as its origin, a certificate."""
import random
import re
import socket
import subprocess

from servers import CLIENT_CORE, HERE, Process, fill_in, free_port

ZIPF_OBJECTS, ZIPF_LEAST, ZIPF_MOST = 10_000, 4096, 200 * 1024
HIT_BYTES = {"hit1k": 1024, "hit10k": 10 * 1024, "hit100k": 100 * 1024, "hit1m": 1_000_000}
FILLER = "x" * 1000  # of a response that is made for its request: 1 KB in all


def zipf_paths(objects):
    """Of 4 to 200 KB, 31 KB on average, the same in each run; how much an object is asked for has nothing to do with its size."""
    source = random.Random(1)
    return [f"/s/{int(ZIPF_LEAST * (ZIPF_MOST / ZIPF_LEAST) ** (source.random() ** 2))}/{number}" for number in range(objects)]


def write_files(directory, paths):
    """A file for each path, of the size that is in it; it begins with its path."""
    filler = b"x" * max(int(path.split("/")[2]) for path in paths)
    for path in paths:
        size, begins = int(path.split("/")[2]), path.encode()
        file = directory / path[1:]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes((begins + filler)[:size])


def write_certificate(directory):
    """ECDSA P-256, signed by itself; `pem` has the key as well."""
    certificate, key, pem = (directory / name for name in ("certificate.pem", "key.pem", "both.pem"))
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=localhost".split()
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    pem.write_text(certificate.read_text() + key.read_text())
    for file in (key, pem):
        file.chmod(0o644)  # some servers read it under an account of their own
    return {"certificate": certificate, "key": key, "pem": pem}


def requests_of(status):
    """Of what nginx's stub_status says: connections accepted, handled, requests."""
    return int(re.search(rb"requests\s+\d+ \d+ (\d+)", status)[1])


class SiteOrigin(Process):
    """nginx. It shares the client's core, and is asked for nothing while hits are measured."""

    def __init__(self, directory, files):
        directory.mkdir()
        port, conf = free_port(), directory / "origin.conf"
        fill_in(HERE / "peers" / "origin.conf", conf, {"dir": directory, "port": port, "files": files, "filler": FILLER})
        super().__init__(["nginx", "-c", str(conf)], port, CLIENT_CORE, directory)

    def ask(self, path):
        with socket.create_connection(("127.0.0.1", self.port), 5) as s:
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: origin\r\nConnection: close\r\n\r\n".encode())
            return b"".join(iter(lambda: s.recv(65536), b""))

    def asked(self):
        """How many requests it has had; these questions are among them."""
        return requests_of(self.ask("/status"))


class Place:
    """`objects`: of the Zipf case."""

    def __init__(self, top, objects):
        self.files, self.list = top / "files", top / "zipf"
        paths = zipf_paths(objects)
        write_files(self.files, [f"/s/{size}/object" for size in HIT_BYTES.values()] + paths)
        self.list.write_text("".join(path + "\n" for path in paths))
        self.certificate = write_certificate(top)
        self.origin = SiteOrigin(top / "origin", self.files)

    def values(self):
        """For the servers' files."""
        return {"files": self.files, "origin": self.origin.port, **self.certificate}

    def stop(self):
        self.origin.stop()
