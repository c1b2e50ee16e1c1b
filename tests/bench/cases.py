"""The cases of DESIGN §11 and the servers they are measured with."""
from typing import Callable, Dict, List, NamedTuple, Optional

from place import HIT_BYTES
from servers import PROGRAMS, ROOT, Peer, group, listed

BROWSER = [
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-GB,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br",
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark",
]
CONNECTIONS = 64
H2_CONNECTIONS, H2_STREAMS = 16, 32
PRIVATE_URLS, UNIQUE_URLS = 1000, 10**9
ZIPF = "zipf=1"
HIT, PASS, MISS = "hit", "pass", "miss"


class Case(NamedTuple):
    name: str
    title: str
    row: str  # what it means, for the report
    reach: Optional[float]  # DESIGN §11: µs of CPU a request
    load: Callable  # (place, seed) → words for load()
    needs: tuple = ()
    kind: str = HIT
    before: Callable = lambda place: []  # words for load(): what is asked for once before
    settle: float = 1  # times the warm-up


def one(name, *words, connections=CONNECTIONS):
    return lambda place, seed: [*group("load", connections, f"/s/{HIT_BYTES[name]}/object"), *words]


CASES = [
    Case("hit1k", "1 KB hit", "One response of 1 KB from memory, asked for as a browser does.", 4.2, one("hit1k")),
    Case(
        "zipf", "Zipf over 10,000 objects of 4–200 KB", "10,000 responses, 310 MB in all, the n-th asked for 1/n times as often as the first.", 8,
        lambda place, seed: listed("load", CONNECTIONS, place.list, ZIPF), before=lambda place: listed("all", 8, place.list, "once"),
    ),
    Case("hit10k", "10 KB hit", "One response of 10 KB from memory.", 5.5, one("hit10k")),
    Case("hit100k", "100 KB hit", "One response of 100 KB from memory.", 13, one("hit100k")),
    Case("hit1m", "1 MB hit", "One response of 1,000,000 bytes from memory.", 170, one("hit1m")),
    Case("conns5k", "5,000 connections, 1 KB", "As the first row, over 5,000 connections that all ask.", 12, one("hit1k", connections=5000), settle=3),
    Case("newconn", "A new connection a request", "Connect, one hit of 1 KB, close.", 12, one("hit1k", "--close")),
    Case(
        "pass", "Pass-through (`no-store`)", "1,000 URLs whose responses of 1 KB may not be stored: each is fetched.", 12,
        lambda place, seed: group("load", CONNECTIONS, "/private/%u", PRIVATE_URLS, "uniform"), ("proxy",), PASS,
    ),
    Case(
        "miss", "Miss, stored (unique URLs)", "URLs that nobody asked for before, 1 KB each: fetched and stored.", 18,
        lambda place, seed: group("load", CONNECTIONS, f"/unique/{seed}/%u", UNIQUE_URLS), ("cache",), MISS,
    ),
    Case("tls1k", "TLS 1.3, 1 KB, kept alive", "As the first row, over TLS.", 6.5, one("hit1k", "--tls"), ("tls",)),
    Case("tls100k", "TLS 1.3, 100 KB", "One response of 100 KB over TLS.", 46, one("hit100k", "--tls"), ("tls",)),
    Case(
        "h2", "HTTP/2 over TLS, 1 KB, 16 × 32 streams", "16 connections, on each 32 requests at a time.", 1.7,
        one("hit1k", "--tls", "--http2", str(H2_STREAMS), connections=H2_CONNECTIONS), ("tls", "h2"),
    ),
    Case("handshake", "Full TLS 1.3 handshake, one GET", "Connect, a full handshake (ECDSA P-256), one hit of 1 KB, close.", 215, one("hit1k", "--tls", "--close"), ("tls",)),
    Case("resumed", "Resumed TLS 1.3 handshake, one GET", "The same by clients that come again with a ticket.", None, one("hit1k", "--tls", "--close", "--resume"), ("tls",)),
]


class MemoryCase(NamedTuple):
    name: str
    title: str
    row: str
    reach: Optional[float]  # DESIGN §11: bytes
    needs: tuple = ()
    secure: bool = False
    of: str = "connection"  # or "object"


IDLE_ROW = """What 10,000 connections add that have each had one response and say nothing, a connection. What a server holds ready from its start for each that it may
have, it does not add: with nginx that is 430 bytes for each of its `worker_connections`."""
MEMORY_CASES = [
    MemoryCase("idle", "An idle keep-alive connection", IDLE_ROW, 410),
    MemoryCase("idletls", "An idle TLS connection", "The same over TLS.", 10 * 1024, ("tls",), secure=True),
    MemoryCase(
        "object", "A cached object of 1 KB, beyond its bytes", "What 50,000 stored responses add, a response, less the bytes that the origin sent for it, head and body.",
        100, ("cache",), of="object",
    ),
]


class Contestant(NamedTuple):
    name: str
    title: str
    peer: Peer
    lacks: Dict[str, str] = {}  # a need: what is said instead of a figure
    is_limit: bool = False

    def reason_to_skip(self, case):
        return next((self.lacks[need] for need in (case.name, *case.needs) if need in self.lacks), None)


VARNISH = "varnishd -F -j none -n {dir}/work -f {file} -a 127.0.0.1:{port} -s malloc,1200m -p thread_pools=1 -p thread_pool_min=200 -p timeout_idle=3600"
NO_TLS = "speaks no TLS"
OUTRIGGER, FLOOR = "outrigger", "floor"

CONTESTANTS: List[Contestant] = [
    Contestant(
        FLOOR, "raw epoll", Peer(None, [str(PROGRAMS / "floor"), "{port}", "{tls_port}", "{certificate}", "{key}"]),
        {"cache": "fetches nothing", "proxy": "fetches nothing", "h2": "has no HTTP/2"}, is_limit=True,
    ),
    Contestant(OUTRIGGER, "Outrigger", Peer("outrigger-tls.yaml", [str(ROOT / "build" / "outrigger"), "-c", "{file}"])),
    Contestant("nginx", "nginx", Peer("nginx.conf", ["nginx", "-c", "{file}"])),
    Contestant("h2o", "H2O", Peer("h2o.yaml", ["h2o", "-m", "worker", "-c", "{file}"]), {"cache": "has no cache"}),
    Contestant("haproxy", "HAProxy", Peer("haproxy.cfg", ["haproxy", "-f", "{file}"]), {"object": "takes the memory of all at its start"}),
    Contestant("varnish", "Varnish", Peer("varnish.vcl", VARNISH.split()), {"tls": NO_TLS}),
    Contestant("trafficserver", "Traffic Server", Peer("trafficserver", ["traffic_server", "--run-root={dir}/trafficserver/runroot.yaml"])),
    Contestant("squid", "Squid", Peer("squid.conf", ["squid", "-N", "-n", "bench{port}", "-f", "{file}"]), {"h2": "speaks no HTTP/2"}),
]
NEEDED = (FLOOR, OUTRIGGER)  # in every run
