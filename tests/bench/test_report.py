"""What is written of results."""
import plot
import report
from cases import CASES, MEMORY_CASES


def measured(cpu_us):
    return {"rate": 1e6 / cpu_us, "cpu_us": cpu_us, "p50_ms": 0.1, "p99_ms": 0.5, "memory_mb": 10, "busy": 0.9}


def results(**cases):
    return {"cases": cases, "skipped": {}, "missing": {}, "versions": {}, "machine": {"when": "then"}, "options": {}}


HITS = {"floor": measured(3.4), "outrigger": measured(4.0), "nginx": measured(10.0), "h2o": measured(5.0)}


def line_of(page, begins):
    return next(line for line in page.splitlines() if line.startswith(begins))


def test_the_summary_says_what_is_reached_and_how_the_best_peer_does():
    line = line_of(report.page([results(hit1k=HITS)]), "| 1 KB hit")
    assert line == "| 1 KB hit (`hit1k`) | 3.40 | H2O 5.00, nginx 10.0 | **4.00** | 0.800 | 4.20 | met | 4.20 | met |"


def test_on_a_slower_machine_the_goal_is_as_much_further_away():
    slow = {name: measured(2 * of["cpu_us"]) for name, of in HITS.items()}
    assert line_of(report.page([results(hit1k=slow)]), "| 1 KB hit").endswith("| **8.00** | 0.800 | 4.20 | missed | 8.40 | met |")


def test_a_server_beside_the_best_peer_and_the_limit():
    assert line_of(report.page([results(hit1k=HITS)]), "| nginx").startswith("| nginx | 100,000 | 10.0 | 2.00 | 2.94 |")


def test_who_could_not_take_part_is_named_with_the_reason():
    of = results(miss={"outrigger": measured(20.0)})
    of["skipped"] = {"miss": {"h2o": "has no cache", "floor": "fetches nothing"}}
    page = report.page([of])
    assert "- H2O: has no cache" in page
    assert "fetches nothing" not in page


def test_a_case_that_none_of_us_did_has_no_verdict():
    assert line_of(report.page([results(tls1k={"nginx": measured(9.0)})]), "| TLS 1.3, 1 KB").endswith("| 6.50 | – | – | – |")


def test_memory_is_compared_by_bytes():
    of = results(idle={"floor": {"bytes": 40}, "outrigger": {"bytes": 300}, "nginx": {"bytes": 500}})
    assert line_of(report.page([of]), "| An idle keep-alive").endswith("| **300** | 0.600 | 410 | met | 410 | met |")


def test_of_several_results_the_last_of_a_case_counts():
    first, second = results(hit1k=HITS, hit10k=HITS), results(hit1k={"outrigger": measured(7.0)})
    page = report.page([first, second])
    assert "**7.00**" in line_of(page, "| 1 KB hit")
    assert "**4.00**" in line_of(page, "| 10 KB hit")


def test_every_case_is_in_a_chart():
    drawn = {name for _, names in report.CHARTS.values() for name in names}
    assert drawn == {case.name for case in CASES}
    assert not drawn & {case.name for case in MEMORY_CASES}


def test_every_server_has_its_bar_and_its_colour():
    assert len(set(plot.COLOURS)) == len(plot.COLOURS) >= len(report.TITLES)
    drawn = plot.bars("t", "", ["a"], "y", [plot.Series(name, [1]) for name in report.TITLES])
    assert drawn.count("<rect") == 2 * len(report.TITLES)  # and in the legend
