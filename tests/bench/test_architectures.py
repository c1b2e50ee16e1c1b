"""What is said of architectures side by side."""
import architectures
import architectures_page as page
import document
import pytest


def rounds(*rates, cpu=10.0):
    return [rate and {"rate": rate, "p99": 1.0, "cpu": cpu, "memory": 50.0, "misses": 0} for rate in rates]


@pytest.mark.parametrize("count, least, most", [(1, 1, 1), (3, 1, 3), (6, 1, 6), (9, 2, 8), (15, 4, 12)])
def test_the_median_is_between_these(count, least, most):
    assert page.interval(list(range(1, count + 1))) == (least, most)


def test_ratios_are_of_the_same_round():
    assert page.ratios(rounds(100, None, 300), rounds(50, 50, 100), "rate") == [2, 3]


@pytest.mark.parametrize(
    "low, high, verdict", [(0.98, 1.2, "yes"), (0.97, 1.2, "not told apart"), (0.5, 0.97, "no")]
)
def test_a_goal_is_met_missed_or_not_told_apart(low, high, verdict):
    assert page.Goal("rate", "SPED", least=0.98).verdict(low, high) == verdict
    assert page.Goal("p99", "MT", most=1 / 0.98).verdict(1 / high, 1 / low) == verdict


def test_a_claim_names_its_step_and_only_where_it_is_made():
    result = {name: [rounds(*6 * [rate]) for rate in rates] for name, rates in {"AMPED": (99, 5), "SPED": (100, 1), "MT": (50, 5)}.items()}
    lines = page.claims_table(["small", "large"], [False, True], result).splitlines()
    assert lines[2] == "| requests/s, ÷ SPED (≥ 0.98) | 0.990 (0.990–0.990): yes |  |"
    assert lines[4] == "| requests/s, ÷ MT (≥ 1) |  | 1.00 (1.00–1.00): yes |"


def test_nothing_is_claimed_of_few_rounds():
    assert page.claim_cell(page.Goal("rate", "SPED", least=0.98), rounds(1, 2, 3), rounds(1, 1, 1)) == "2.00"


def test_parts_are_compared_with_the_whole():
    result = {"all caches": [rounds(1, 1, 1)], "no index": [rounds(1, 1, 1, cpu=25.0)]}
    assert page.parts_table(["1 KiB"], result).splitlines()[2] == "| no index | 2.50 |"


def test_rounds_that_failed_are_left_out():
    result = {"AMPED": [rounds(None, 3, 5), rounds(None, None, None)]}
    assert page.figures_table(["16", "32"], result, "rate").splitlines()[2] == "| AMPED | 4 | – |"


def test_each_experiment_has_a_place_in_the_document():
    text = page.PAGE.read_text()
    for experiment in architectures.EXPERIMENTS:
        assert text.count(f"<!-- make bench-architectures CASES={experiment.name}: begin -->") == 1
        assert experiment.name in page.X_TITLES
    assert document.DOCS.exists()
