"""outriggerctl top on a terminal: its views, its keys, and what it looks like."""
import os

import pytest

from harness.load import Load
from harness.outrigger import CONTROL, SLOW
from harness.poll import until
from harness.terminal import Terminal


@pytest.fixture
def top():
    terminals = []

    def start(outrigger, *arguments, **options):
        terminals.append(Terminal([CONTROL, "--socket", outrigger.socket, "top", "--interval", "0.1", *arguments], **options))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.kill()


def answer(request):
    kept = "no-store" if request.target == "/cart" else "max-age=60"
    request.answer(b"x" * 1024, fields={"Cache-Tag": "news", "Cache-Control": kept})


def test_the_views_and_their_keys(outrigger, origin, top):
    origin.on("*", answer)
    with outrigger.connect() as client:
        for target in ("/a", "/a", "/a", "/cart", "/caf%C3%A9"):
            client.request(target, host="shop.test")
    terminal = top(outrigger)
    terminal.until("by rate", 30 * SLOW)
    for key, parts in (("2", ("[2 URLs]", "http://shop.test/a", "3      3.0 KiB            1  ", "by requests")), ("s", ("by bytes",)), ("s", ("by misses",)),
                       ("3", ("[3 sites]", "  *")), ("4", ("[4 tags]", "  news")), ("5", ("[5 statuses]", "  200")), ("6", ("[6 reasons]", "no-store ")),
                       ("1", ("[1 overview]", "result   HIT")), ("\t", ("[2 URLs]",)), ("7", ("[2 URLs]",))):
        terminal.press(key)
        for part in parts:
            terminal.until(part, 30 * SLOW)
    terminal.press("q")
    assert terminal.end() == 0


def test_a_small_terminal_is_not_overrun(outrigger, origin, top):
    origin.on("*", answer)
    for n in range(20):
        outrigger.get(f"/{n}")
    terminal = top(outrigger, rows=10, columns=40)
    terminal.until("requests", 30 * SLOW)
    terminal.press("2")
    text = terminal.until("misses", 30 * SLOW)
    assert text.startswith("requests ") and max(map(len, text.splitlines())) <= 40 and len(text.splitlines()) <= 10


@pytest.mark.skipif("TOP_SCREENSHOT" not in os.environ, reason="make top-screenshot")
def test_screenshot(make_outrigger, origin, top):
    outrigger = make_outrigger(origin=origin.url, config={"cache": {"memory": "16MiB"}, "sites": [{"hosts": ["www.example.com", "site.test"], "origin": origin.url}]})
    origin.on("*", answer)
    targets = {target: b"x" * 1024 for target in ("/", "/", "/style.css", "/logo.svg", "/news", "/cart", "/news/first", "/?page=2", "/article/{}")}
    with Load(outrigger, targets) as load:
        terminal = top(outrigger, "--interval", "1", rows=30, columns=110)
        terminal.press("2")
        terminal.until("/news/first", 30)
        terminal.until("/logo.svg", 30)
        goal = load.count + 30000
        until(lambda: load.count >= goal, timeout=60, what="requests to show")
        with open(os.environ["TOP_SCREENSHOT"], "w", encoding="utf-8") as file:
            file.write(terminal.svg())
    terminal.press("q")
    assert terminal.end() == 0
