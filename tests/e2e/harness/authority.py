"""Certificate authorities of one test, and servers and clients by their certificates. Keys are of P-256: they cost nothing to make."""
import datetime
import itertools
import ssl
import subprocess

numbers = itertools.count(1)


class Authority:
    """Writes into `directory`. `file` is its certificate, which is what there is to trust."""

    def __init__(self, directory, name="Test authority"):
        self.directory = directory
        self.file, self.key = directory / f"authority{next(numbers)}.pem", directory / f"authority{next(numbers)}.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", f"/CN={name}", "-keyout", self.key,
                "-out", self.file)

    def issue(self, *names, days=(-1, 30), usage="serverAuth"):
        """(certificate, key) for host names and IP addresses, valid from and until so many days from now."""
        stem = self.directory / f"certificate{next(numbers)}"
        request, extensions, certificate, key = (stem.with_suffix(s) for s in (".csr", ".ext", ".pem", ".key"))
        alternatives = ", ".join(f"{'IP' if is_address(n) else 'DNS'}:{n}" for n in names)
        extensions.write_text(f"basicConstraints = CA:FALSE\nextendedKeyUsage = {usage}\n" + (f"subjectAltName = {alternatives}\n" if names else ""))
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={names[0] if names else 'nobody'}", "-keyout", key, "-out", request)
        # `openssl x509` knows no beginning: `openssl ca` does, and wants a directory of its own.
        home = self.directory / f"ca{next(numbers)}"
        home.mkdir()
        (home / "index").write_text("")
        (home / "ca.cnf").write_text(CONFIGURATION.format(home=home))
        openssl("ca", "-batch", "-config", home / "ca.cnf", "-cert", self.file, "-keyfile", self.key, "-in", request, "-out", certificate, "-notext",
                "-startdate", moment(days[0]), "-enddate", moment(days[1]), "-extfile", extensions)
        return certificate, key

    def server(self, *names, client_authority=None, **how):
        """An ssl.SSLContext that serves by a certificate for these names; with what clients asked for in `asked`."""
        return server_context(*self.issue(*names, **how), client_authority=client_authority)


def server_context(certificate, key, client_authority=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2", "http/1.1"])
    asked = []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    context.asked = asked
    if client_authority:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_authority.file)
    return context


CONFIGURATION = """[ca]
default_ca = this
[this]
new_certs_dir = {home}
database = {home}/index
default_md = sha256
policy = any
rand_serial = yes
email_in_dn = no
[any]
commonName = supplied
"""


def moment(days):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)).strftime("%Y%m%d%H%M%SZ")


def is_address(name):
    return ":" in name or name.replace(".", "").isdigit()


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
