"""Fixtures: one accelerator, origin or name server a test, ended with it."""
import itertools
import os
import re
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from harness.names import NameServer
from harness.origin import Origin
from harness.outrigger import Outrigger


@pytest.fixture
def make_origin():
    made = []

    def make(**options):
        made.append(Origin(**options))
        return made[-1]

    yield make
    for origin in made:
        origin.stop()


@pytest.fixture
def origin(make_origin):
    return make_origin()


@pytest.fixture
def name_server():
    server = NameServer()
    yield server
    server.stop()


@pytest.fixture
def make_outrigger(tmp_path):
    made = []

    def make(*arguments, **options):
        directory = tmp_path / f"outrigger{len(made)}"
        directory.mkdir()
        made.append(Outrigger(directory, *arguments, **options))
        return made[-1]

    yield make
    for outrigger in made:
        outrigger.stop()


@pytest.fixture
def outrigger(make_outrigger, origin):
    """One in front of `origin`, with the defaults."""
    return make_outrigger(origin=origin.url)


@pytest.fixture(scope="module")
def back():
    """The origin of `proxy`: one for the whole module."""
    origin = Origin()
    yield origin
    origin.stop()


@pytest.fixture(scope="module")
def make_module_outrigger(tmp_path_factory):
    """As make_outrigger, for the whole module: for tests that keep to paths of their own."""
    made = []

    def make(**options):
        made.append(Outrigger(tmp_path_factory.mktemp("outrigger"), **options))
        return made[-1]

    yield make
    for outrigger in made:
        outrigger.stop()


@pytest.fixture(scope="module")
def proxy(back, tmp_path_factory):
    """One accelerator with the defaults, in front of `back`, for the whole module: for tests that keep to paths of their own."""
    outrigger = Outrigger(tmp_path_factory.mktemp("outrigger"), origin=back.url)
    process = outrigger.await_children("proxy", 1)
    yield outrigger
    survivors = outrigger.children("proxy")
    outrigger.stop()
    assert survivors == process, outrigger.output_text() + outrigger.errors()


numbers = itertools.count(1)


@pytest.fixture
def path(request):
    """A path that no other test uses."""
    return f"/{next(numbers)}-{re.sub('[^a-z0-9]+', '-', request.node.originalname.lower())}"
