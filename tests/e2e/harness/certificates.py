"""Certificates for servers under TLS, and clients that see everything: Python's ssl, and the openssl command."""
import re
import socket
import ssl
import subprocess

from .authority import Authority, openssl
from .outrigger import SLOW, Outrigger
from .ports import free_port


class TlsOutrigger(Outrigger):
    """An accelerator with a listener for TLS besides the plain one. `sites` as in the configuration."""

    def __init__(self, directory, sites, config=None, listen=None, **options):
        self.tls_port = free_port()
        self.sites = sites
        self.listen = {"address": f"127.0.0.1:{self.tls_port}", "tls": True, **(listen or {})}
        super().__init__(directory, config={"sites": sites, **(config or {})}, **options)

    def write_config(self, text=None):
        if self.listen not in self.config["listen"]:
            self.config["listen"].append(self.listen)
        super().write_config(text)

    def tls(self, name="www.example.org", context=None, **how):
        """An ssl.SSLSocket, shaken hands with; raises ssl.SSLError."""
        context = context or client_context(**how)
        plain = socket.create_connection(("127.0.0.1", self.tls_port), timeout=10 * SLOW)
        return context.wrap_socket(plain, server_hostname=name)

    def fetch(self, target="/", name="www.example.org", host=None, connection=None, headers="", **how):
        """(status, fields in lower case, body) of one request; a connection that is given stays open."""
        own = connection is None
        connection = connection or self.tls(name, **how)
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {host or name or 'x'}\r\n{headers}\r\n".encode())
        answer = read_answer(connection)
        if own:
            connection.close()
        return answer

    def s_client(self, *arguments, name="www.example.org", stdin=b"Q\n"):
        """What `openssl s_client` says."""
        server_name = ["-servername", name] if name else ["-noservername"]
        done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{self.tls_port}", *server_name, *map(str, arguments)], input=stdin,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20 * SLOW)
        return done.stdout.decode(errors="replace")


def read_answer(connection):
    got = b""
    while b"\r\n\r\n" not in got:
        more = connection.recv(65536)
        if not more:
            raise EOFError(got)
        got += more
    head, _, body = got.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
    while len(body) < int(fields.get("content-length", 0)):
        body += connection.recv(65536)
    return int(lines[0].split()[1]), fields, body


def client_context(authority=None, version=None, certificate=None, alpn=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = authority is not None
    context.verify_mode = ssl.CERT_REQUIRED if authority else ssl.CERT_NONE
    if authority:
        context.load_verify_locations(authority.file)
    if version:
        context.minimum_version = context.maximum_version = version
    if certificate:
        context.load_cert_chain(*certificate)
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


def pair(certificate, **more):
    """What `tls` of a site says for (certificate, key)."""
    return {"certificate": str(certificate[0]), "key": str(certificate[1]), **more}


def rsa_pair(authority, name):
    """(certificate, key) with an RSA key: those of Authority.issue are ECDSA."""
    stem = authority.directory / f"rsa-{name}"
    request, extensions, certificate, key = (stem.with_suffix(s) for s in (".csr", ".ext", ".pem", ".key"))
    extensions.write_text(f"basicConstraints = CA:FALSE\nsubjectAltName = DNS:{name}\n")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
    openssl("x509", "-req", "-in", request, "-CA", authority.file, "-CAkey", authority.key, "-CAcreateserial", "-days", "30", "-extfile", extensions, "-out", certificate)
    return certificate, key


def ocsp_response(authority, certificate, days=7):
    """The file of a good response about a certificate."""
    stem = certificate.with_suffix("")
    serial = subprocess.run(["openssl", "x509", "-in", certificate, "-noout", "-serial"], check=True, capture_output=True, text=True).stdout.strip().split("=")[1]
    index, request, response = stem.with_suffix(".index"), stem.with_suffix(".ocspq"), stem.with_suffix(".ocsp")
    index.write_text(f"V\t491231235959Z\t\t{serial}\tunknown\t/CN=x\n")
    openssl("ocsp", "-issuer", authority.file, "-cert", certificate, "-reqout", request)
    openssl("ocsp", "-index", index, "-rsigner", authority.file, "-rkey", authority.key, "-CA", authority.file, "-reqin", request, "-respout", response,
            "-ndays", days)
    return response


def subject(text):
    """The name of the certificate that s_client was shown."""
    return re.search(r"subject=CN = (\S+)", text)[1]


def serve_every_protocol(tmp_path_factory, back, paths, config):
    """An accelerator of site.test before the origin `back`, by HTTP/1 and HTTP/2, plain and by TLS, that has stored what is at `paths`. To be stopped."""
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    site = {"hosts": ["*"], "origin": back.url, "tls": pair(authority.issue("site.test"))}
    edge = TlsOutrigger(tmp_path_factory.mktemp("outrigger"), [site], config=config, listen={"proxy_protocol": False})
    edge.config["listen"][0]["http2"] = True
    edge.write_config()
    edge.ctl("reload")
    for path in paths:
        edge.get(path, host="site.test")
        edge.fetch(path, name="site.test")
    return edge


__all__ = ["Authority", "TlsOutrigger", "client_context", "ocsp_response", "pair", "rsa_pair", "read_answer", "serve_every_protocol", "subject"]
