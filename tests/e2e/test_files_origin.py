"""Static files, read by the disk helpers: what is served, what is not, and that the cache treats it as any origin's."""
import email.utils
import hashlib
import os
import socket
import tempfile
import threading

import pytest

from harness.http import get
from harness.outrigger import SLOW, Outrigger
from harness.poll import until

LARGE = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(5 * 1024 * 1024 // 32)) + b"and a bit"
AGE = {"files": {"max_age": "1h"}}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    directory = tmp_path_factory.mktemp("site")
    root = directory / "www"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "index.html").write_bytes(b"<h1>front</h1>")
    (root / "small.txt").write_bytes(b"a small file\n")
    (root / "large.bin").write_bytes(LARGE)
    (root / "none").write_bytes(b"")
    (root / "sub" / "index.html").write_bytes(b"<h1>sub</h1>")
    (root / "sub" / "deep" / "page.html").write_bytes(b"deep")
    (root / "with space & ümlaut.txt").write_bytes(b"odd name")
    (root / "a+b%41.txt").write_bytes(b"plus and percent")
    (root / ".hidden").write_bytes(b"secret")
    (root / ".git").mkdir()
    (root / ".git" / "config").write_bytes(b"secret")
    (root / "sub" / ".htpasswd").write_bytes(b"secret")
    for suffix in ("html", "txt", "css", "js", "json", "svg", "png", "jpg", "woff2", "pdf", "webp", "xml", "unknown"):
        (root / f"type.{suffix}").write_bytes(b"x")
    (directory / "outside.txt").write_bytes(b"secret")
    (directory / "outside").mkdir()
    (directory / "outside" / "file.txt").write_bytes(b"secret")
    (root / "inside-link").symlink_to("small.txt")
    (root / "inside-directory").symlink_to("sub")
    (root / "escape.txt").symlink_to("../outside.txt")
    (root / "escape-absolute.txt").symlink_to(directory / "outside.txt")
    (root / "escape").symlink_to("../outside")
    (root / "dangling").symlink_to("nowhere")
    (root / "loop").symlink_to("loop")
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as end:
        here = os.getcwd()
        os.chdir(root)
        end.bind("socket")
        os.chdir(here)
    return root


@pytest.fixture(scope="module")
def files(root, tmp_path_factory):
    outrigger = Outrigger(tmp_path_factory.mktemp("outrigger"), origin=f"files:{root}", site=AGE)
    yield outrigger
    outrigger.stop()


@pytest.fixture
def make_files(make_outrigger, tmp_path):
    """An accelerator in front of a directory of the test's own."""
    own = tmp_path / "own"
    own.mkdir()

    def make(max_age="1h", **files):
        return own, make_outrigger(origin=f"files:{own}", site={"files": {"max_age": max_age, **files}})

    return make


# ---- what is served ----


@pytest.mark.parametrize("target, body", [
    ("/small.txt", b"a small file\n"),
    ("/large.bin", LARGE),
    ("/none", b""),
    ("/", b"<h1>front</h1>"),
    ("/index.html", b"<h1>front</h1>"),
    ("/sub/", b"<h1>sub</h1>"),
    ("/sub/deep/page.html", b"deep"),
    ("/with%20space%20&%20%C3%BCmlaut.txt", b"odd name"),
    ("/a+b%2541.txt", b"plus and percent"),
    ("/small.txt?a=query&is=ignored", b"a small file\n"),
    ("//small.txt", b"a small file\n"),
    ("/sub/../small.txt", b"a small file\n"),
    ("/./sub/./deep//page.html", b"deep"),
    ("/inside-link", b"a small file\n"),
    ("/inside-directory/deep/page.html", b"deep"),
    ("/%73mall.txt", b"a small file\n"),
])
def test_a_file_is_served_byte_for_byte_and_then_from_the_cache(files, target, body):
    first, second = files.get(target), files.get(target)
    assert (first.status, first.complete) == (200, True) and first.body == body
    assert (second.status, second.complete) == (200, True) and second.body == body
    assert "; hit" in second.get("cache-status")
    assert first.get("content-length") == second.get("content-length") == str(len(body))


def test_a_hit_asks_no_helper(files):
    assert files.get("/large.bin").body == LARGE
    reads = files.metric("outrigger_file_reads_total")
    files.await_metric(reads, "outrigger_helper_requests_total", role="disk")
    for _ in range(5):
        assert files.get("/large.bin").body == LARGE
    assert files.metric("outrigger_file_reads_total") == reads


@pytest.mark.parametrize("suffix, kind", [
    ("css", "text/css"), ("html", "text/html"), ("txt", "text/plain"), ("js", ("text/javascript", "application/javascript")), ("json", "application/json"), ("svg", "image/svg+xml"), ("png", "image/png"),
    ("jpg", "image/jpeg"), ("woff2", "font/woff2"), ("pdf", "application/pdf"), ("webp", "image/webp"), ("unknown", "application/octet-stream"),
])
def test_the_media_type_follows_from_the_name(files, suffix, kind):
    answer = files.get(f"/type.{suffix}")
    assert answer.status == 200 and answer.get("content-type").split(";")[0] in (kind if isinstance(kind, tuple) else (kind,))


def test_last_modified_and_a_strong_etag_tell_the_version(make_files):
    own, outrigger = make_files(max_age=0)
    (own / "file").write_bytes(b"one")
    os.utime(own / "file", (1_600_000_000, 1_600_000_000))
    first = outrigger.get("/file")
    assert email.utils.parsedate_to_datetime(first.get("last-modified")).timestamp() == 1_600_000_000
    assert first.get("etag").startswith('"') and first.get("etag").endswith('"') and len(first.get("etag")) > 2
    (own / "file").write_bytes(b"two")  # as long as the first
    os.utime(own / "file", (1_600_000_000, 1_600_000_001))
    second = outrigger.get("/file")
    assert second.body == b"two" and second.get("etag") != first.get("etag")
    assert second.get("cache-control") == "max-age=0"


def test_a_file_from_the_future_was_modified_now(make_files):
    own, outrigger = make_files()
    (own / "file").write_bytes(b"x")
    os.utime(own / "file", (4_000_000_000, 4_000_000_000))
    answer = outrigger.get("/file")
    modified, date = (email.utils.parsedate_to_datetime(answer.get(name)) for name in ("last-modified", "date"))
    assert modified <= date, "RFC 9110 §8.8.2.1"


# ---- conditions, ranges, methods ----


@pytest.mark.parametrize("target", ["/small.txt", "/sub/"])
def test_a_condition_that_holds_is_304(files, target):
    whole = files.get(target)
    for fields in ({"If-None-Match": whole.get("etag")}, {"If-None-Match": f'"other", W/{whole.get("etag")}'}, {"If-None-Match": "*"},
                   {"If-Modified-Since": whole.get("last-modified")}):
        answer = files.get(target, fields=fields)
        assert (answer.status, answer.body) == (304, b""), fields
        assert answer.get("etag") == whole.get("etag")
    for fields in ({"If-None-Match": '"other"'}, {"If-Modified-Since": "Thu, 01 Jan 2015 00:00:00 GMT"}):
        assert files.get(target, fields=fields).body == whole.body, fields


def test_a_condition_on_a_file_that_is_not_stored_is_judged_too(make_files):
    own, outrigger = make_files()
    (own / "file").write_bytes(b"whole")
    etag = outrigger.get("/file").get("etag")
    outrigger.get("/file", method="PURGE")
    answer = outrigger.get("/file", fields={"If-None-Match": etag})
    assert answer.status == 304 and "fwd=uri-miss" in answer.get("cache-status")
    assert outrigger.get("/file").body == b"whole"
    assert outrigger.metric("outrigger_origin_requests_total") == 2, "the whole file was stored, though nobody wanted its bytes"


@pytest.mark.parametrize("stored", [False, True])
def test_ranges_of_a_large_file(make_files, stored):
    own, outrigger = make_files()
    (own / "large.bin").write_bytes(LARGE)
    if stored:
        assert outrigger.get("/large.bin").body == LARGE
    for first, last in ((0, 0), (1, 65536), (4_000_000, 4_000_100), (len(LARGE) - 1, len(LARGE) - 1)):
        answer = outrigger.get("/large.bin", fields={"Range": f"bytes={first}-{last}"})
        assert (answer.status, answer.body) == (206, LARGE[first : last + 1])
        assert answer.get("content-range") == f"bytes {first}-{last}/{len(LARGE)}"
    assert outrigger.get("/large.bin", fields={"Range": f"bytes={len(LARGE)}-"}).status == 416
    assert outrigger.get("/large.bin", fields={"Range": "bytes=-9"}).body == b"and a bit"


def test_accept_ranges_is_announced(files):
    assert files.get("/small.txt").get("accept-ranges") == "bytes"


@pytest.mark.parametrize("stored", [False, True])
def test_head_is_get_without_a_body(make_files, stored):
    own, outrigger = make_files()
    (own / "file").write_bytes(b"x" * 1000)
    if stored:
        outrigger.get("/file")
    answer = outrigger.get("/file", method="HEAD")
    assert (answer.status, answer.body, answer.get("content-length")) == (200, b"", "1000")
    assert answer.get("etag") and answer.get("last-modified")
    with outrigger.connect() as client:
        assert client.request("/file", method="HEAD").status == 200
        assert client.request("/file").body == b"x" * 1000, "no stray body bytes"
    assert outrigger.get("/nowhere", method="HEAD").status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
def test_other_methods_are_405(files, method):
    answer = files.get("/small.txt", method=method, body=b"x" if method in ("POST", "PUT", "PATCH") else None)
    assert answer.status == 405 and answer.get("allow") == "GET, HEAD"
    assert files.get("/small.txt").body == b"a small file\n"


# ---- what is not served ----


@pytest.mark.parametrize("target", ["/missing", "/sub/missing.html", "/small.txt/", "/small.txt/x", "/dangling", "/missing/", "/sub%2Findex.html", "/" + "x" * 300,
                                    "/" + "d/" * 2000 + "f"])
def test_what_is_not_there_is_404(files, target):
    answer = files.get(target)
    assert answer.status == 404 and b"404" in answer.body


@pytest.mark.parametrize("target", ["/.hidden", "/.git/config", "/.git/", "/.git", "/sub/.htpasswd", "/%2ehidden", "/%2Egit/config", "/sub/%2ehtpasswd"])
def test_dotfiles_are_not_there(files, target):
    answer = files.get(target)
    assert answer.status == 404 and b"secret" not in answer.body


@pytest.mark.parametrize("target", ["/../outside.txt", "/sub/../../outside.txt", "/%2e%2e/outside.txt", "/..%2foutside.txt", "/%2e%2e%2foutside.txt", "/.%2e/outside.txt",
                                    "/sub/%2E%2E/%2E%2E/outside.txt", "/sub/..%2f..%2foutside.txt", "/..\\outside.txt", "/..%5coutside.txt", "/%252e%252e/outside.txt",
                                    "/..;/outside.txt", "/../www/../outside.txt", "/..", "/sub/../..", "/inside-directory/../../outside.txt"])
def test_nothing_outside_the_root_is_served(files, target):
    answer = files.get(target)
    assert answer.status in (400, 404) and b"secret" not in answer.body


@pytest.mark.parametrize("target", ["/escape.txt", "/escape-absolute.txt", "/escape/file.txt", "/escape/", "/escape", "/loop", "/pipe", "/socket"])
def test_a_link_out_of_the_root_and_what_is_no_file_are_forbidden(files, target):
    answer = files.get(target)
    assert answer.status == 403 and b"secret" not in answer.body


@pytest.mark.parametrize("target", ["/small.txt%00", "/small.txt%00.html", "/%00", "/sub/%00/page.html", "/%", "/%4", "/%zz"])
def test_nul_and_malformed_escapes_are_400(files, target):
    assert files.get(target).status in (400, 404)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change to another user")
def test_what_the_helper_may_not_read_is_forbidden_and_the_log_says_why(make_outrigger):
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        for name, mode in (("open", 0o644), ("closed", 0o600)):
            with open(os.path.join(directory, name), "wb") as file:
                file.write(b"x")
            os.chmod(os.path.join(directory, name), mode)
        outrigger = make_outrigger(origin=f"files:{directory}", config={"user": "nobody"})
        assert outrigger.get("/open").status == 200
        assert outrigger.get("/closed").status == 403
        until(lambda: f"files:{directory}: /closed is not served: it may not be read" in outrigger.errors(), what="the reason")


def test_a_directory_without_index_is_403(files):
    assert files.get("/empty/").status == 403


@pytest.mark.parametrize("target, location", [("/sub", "/sub/"), ("/sub?a=b", "/sub/?a=b"), ("/empty", "/empty/"), ("/inside-directory", "/inside-directory/"),
                                              ("//sub", "/sub/"), ("//sub/deep", "/sub/deep/"), ("/sub/../sub", "/sub/")])
def test_a_directory_redirects_to_its_slash(files, target, location):
    answer = files.get(target)
    assert (answer.status, answer.get("location")) == (301, location), "never a host: //sub would be one"


def test_a_name_that_needs_escapes_keeps_them_in_the_redirect(make_files):
    own, outrigger = make_files()
    (own / "a b\r\nSet-Cookie: c=1").mkdir()
    answer = outrigger.get("/a%20b%0d%0aSet-Cookie:%20c=1")
    assert answer.status in (301, 400, 404) and answer.get("set-cookie") is None
    if answer.status == 301:
        assert "\n" not in answer.get("location") and answer.get("location").lower() == "/a%20b%0d%0aset-cookie:%20c=1/"


# ---- changes ----


def test_a_changed_file_is_seen_when_the_stored_one_has_expired(make_files):
    own, outrigger = make_files(max_age="1s")
    (own / "file").write_bytes(b"old")
    assert outrigger.get("/file").body == b"old"
    (own / "file").write_bytes(b"new and longer")
    until(lambda: outrigger.get("/file").body == b"new and longer", what="the new content")


def test_an_unchanged_file_is_not_read_again(make_files):
    own, outrigger = make_files(max_age=0)
    (own / "file").write_bytes(b"same")
    first = outrigger.get("/file")
    reads = outrigger.metric("outrigger_file_reads_total")
    second = outrigger.get("/file")
    assert first.body == second.body == b"same" and first.get("etag") == second.get("etag")
    outrigger.await_metric(1, "outrigger_requests_total", result="REVALIDATED")
    assert outrigger.metric("outrigger_file_reads_total") == reads + 1, "one look at the file, no reading"


def test_a_file_that_went_away_is_404(make_files):
    own, outrigger = make_files(max_age=0)
    (own / "file").write_bytes(b"here")
    assert outrigger.get("/file").body == b"here"
    (own / "file").unlink()
    assert outrigger.get("/file").status == 404
    (own / "file").write_bytes(b"again")
    assert outrigger.get("/file").body == b"again"


def test_a_replaced_file_is_never_mixed_with_the_old_one(make_files):
    """While the file is replaced again and again, every answer is wholly one version, or visibly cut off; in a pause it is whole."""
    own, outrigger = make_files(max_age=0)
    size = 1 << 20
    (own / "file").write_bytes(b"0" * size)
    stop, pause = threading.Event(), threading.Lock()

    def replace():
        n = 0
        while not stop.is_set():
            n = (n + 1) % 10
            (own / "next").write_bytes(b"%d" % n * size)
            with pause:
                (own / "next").rename(own / "file")

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        for _ in range(20):
            answer = outrigger.get("/file")
            assert len(set(answer.body)) <= 1, "bytes of two versions"
            with pause:
                answer = outrigger.get("/file")
                assert (answer.status, len(answer.body), len(set(answer.body))) == (200, size, 1)
    finally:
        stop.set()
        writer.join()


# ---- delay ----


def test_the_delay_is_for_misses_only(make_files):
    own, outrigger = make_files(delay="700ms")
    (own / "file").write_bytes(b"slow")
    assert outrigger.get("/file").body == b"slow"
    outrigger.await_metric(1, "outrigger_request_duration_seconds_count", cache="miss")
    assert outrigger.metric("outrigger_request_duration_seconds_sum", cache="miss") >= 0.65
    for _ in range(20):
        assert outrigger.get("/file").body == b"slow"
    outrigger.await_metric(20, "outrigger_request_duration_seconds_count", cache="hit")
    assert outrigger.metric("outrigger_request_duration_seconds_bucket", cache="hit", le="0.25") > 10, "but for those whom the machine held up"


def test_a_delayed_answer_collapses_like_any_other(make_files):
    own, outrigger = make_files(delay="300ms")
    (own / "file").write_bytes(b"once")
    answers = []
    clients = [threading.Thread(target=lambda: answers.append(outrigger.get("/file").body)) for _ in range(10)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert answers == [b"once"] * 10
    assert outrigger.metric("outrigger_origin_requests_total") == 1


def test_files_and_http_origins_can_stand_side_by_side(make_outrigger, origin, root):
    origin.on("/small.txt", b"by http")
    outrigger = make_outrigger(config={"sites": [{"hosts": ["files.test"], "origin": f"files:{root}"}, {"hosts": ["*"], "origin": origin.url}]})
    assert get(outrigger.port, "/small.txt", host="files.test").body == b"a small file\n"
    assert get(outrigger.port, "/small.txt", host="other.test").body == b"by http"


def test_many_files_at_once(make_files):
    own, outrigger = make_files()
    for n in range(300):
        (own / f"{n}.txt").write_bytes(b"file %d" % n * (n + 1))
    failures = []

    def fetch(first):
        with outrigger.connect(timeout=30 * SLOW) as client:
            for n in range(first, 300, 6):
                answer = client.request(f"/{n}.txt")
                if (answer.status, answer.body) != (200, b"file %d" % n * (n + 1)):
                    failures.append((n, answer))

    clients = [threading.Thread(target=fetch, args=(first,)) for first in range(6)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert not failures
