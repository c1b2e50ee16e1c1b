"""The cases, who takes part in them, and what their servers' files need."""
import pathlib
import re

import pytest

from bench import check_fetched
from cases import CASES, CONTESTANTS, FLOOR, HIT, MEMORY_CASES, MISS, NEEDED, OUTRIGGER, PASS
from memory import own_bytes
from place import ZIPF_LEAST, ZIPF_MOST, ZIPF_OBJECTS, requests_of, zipf_paths
from servers import Refused, complaint, replaced

PEERS = pathlib.Path(__file__).parent / "peers"
GIVEN = {"dir", "file", "port", "tls_port", "admin", "origin", "files", "filler", "certificate", "key", "pem"}
NAMED = {case.name: case for case in [*CASES, *MEMORY_CASES]}
CASE = {kind: next(case for case in CASES if case.kind == kind) for kind in (HIT, PASS, MISS)}


def contestant(name):
    return next(one for one in CONTESTANTS if one.name == name)


def test_a_name_is_one_case():
    assert len(NAMED) == len(CASES) + len(MEMORY_CASES)


def test_we_and_the_limit_take_part_in_every_run():
    assert {FLOOR, OUTRIGGER} == set(NEEDED) <= {one.name for one in CONTESTANTS}


def test_who_cannot_do_a_case_says_why():
    assert contestant("h2o").reason_to_skip(NAMED["miss"]) == "has no cache"
    assert contestant("varnish").reason_to_skip(NAMED["tls100k"]) == "speaks no TLS"
    assert contestant("haproxy").reason_to_skip(NAMED["object"])
    assert contestant("nginx").reason_to_skip(NAMED["h2"]) is None
    assert contestant("h2o").reason_to_skip(NAMED["pass"]) is None


def test_everything_a_case_needs_is_a_word_somebody_knows():
    known = {need for one in CONTESTANTS for need in one.lacks}
    assert {need for case in NAMED.values() for need in case.needs} <= known


@pytest.mark.parametrize("one", CONTESTANTS, ids=lambda one: one.name)
def test_the_files_of_a_server_want_nothing_that_is_not_given(one):
    words = [*one.peer.command, *(["-c {dir}"] if one.peer.template is None else [])]
    if one.peer.template:
        template = PEERS / one.peer.template
        words += [file.read_text() for file in ([template] if template.is_file() else template.iterdir())]
    wanted = {found for text in words for found in re.findall(r"\{([a-z_]+)\}", text)}
    assert wanted <= GIVEN


def test_a_few_that_were_fetched_do_not_spoil_a_hundred_thousand_hits():
    check_fetched(CASE[HIT], 60, 100_000)


def test_hits_that_were_fetched_are_refused():
    with pytest.raises(Refused, match="no hits: 900 of 1000"):
        check_fetched(CASE[HIT], 900, 1000)


def test_fetches_that_were_hits_are_refused():
    check_fetched(CASE[MISS], 1100, 1000)  # some were asked for while it warmed up
    with pytest.raises(Refused, match="only 10 were fetched"):
        check_fetched(CASE[PASS], 10, 1000)


def test_objects_are_the_same_in_each_run_and_of_the_sizes_that_are_said():
    paths = zipf_paths(ZIPF_OBJECTS)
    sizes = [int(path.split("/")[2]) for path in paths]
    assert paths == zipf_paths(ZIPF_OBJECTS)
    assert len(set(paths)) == 10_000
    assert ZIPF_LEAST <= min(sizes) and max(sizes) <= ZIPF_MOST
    assert 290e6 < sum(sizes) < 330e6


def test_a_process_is_charged_with_its_heap_and_its_part_of_what_is_shared_but_for_no_library():
    assert own_bytes("Rss: 1768 kB\nPss:  911 kB\nPss_Dirty: 12 kB\nPss_Anon:  112 kB\nPss_File:  99 kB\nPss_Shmem:   700 kB\n") == 812 * 1024


def test_the_origin_says_how_often_it_was_asked():
    assert requests_of(b"HTTP/1.1 200 OK\r\n\r\nActive connections: 65 \nserver accepts handled requests\n 70 71 4211 \nReading: 0") == 4211


def test_a_server_that_does_not_start_says_why_in_one_line():
    assert complaint("starting\nx.conf:3: error: no such word\nleaving\n") == "x.conf:3: error: no such word"
    assert complaint("first\nlast\n\n") == "last"
    assert complaint("") == "it says nothing"


def test_other_braces_of_a_file_stay():
    assert replaced("server { listen {port}; }", {"port": 80}) == "server { listen 80; }"
