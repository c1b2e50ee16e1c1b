"""What a comparison makes of its measurements."""
import figures
from figures import best_peer, median_of, number, ratio, scaled_reach, table, verdict

HITS = {"floor": {"cpu_us": 3.0}, "outrigger": {"cpu_us": 4.0}, "nginx": {"cpu_us": 9.0}, "h2o": {"cpu_us": 5.0}, "squid": {"cpu_us": None}}


def test_each_figure_has_its_own_median():
    rounds = [{"rate": 10, "p99": 5}, {"rate": 30, "p99": 1}, {"rate": 20, "p99": 9}]
    assert median_of(rounds) == {"rate": 20, "p99": 5}


def test_one_round_that_was_disturbed_does_not_move_the_median():
    assert median_of([{"cpu_us": 4}, {"cpu_us": 400}, {"cpu_us": 5}])["cpu_us"] == 5


def test_neither_we_nor_the_limit_are_the_best_peer():
    assert best_peer(HITS, "cpu_us", "outrigger", "floor") == "h2o"


def test_without_a_peer_there_is_no_best_one():
    assert best_peer({"outrigger": {"cpu_us": 4.0}}, "cpu_us", "outrigger", "floor") is None


def test_a_ratio_of_what_was_not_measured_is_none():
    assert ratio(None, 3) is None
    assert ratio(3, None) is None
    assert ratio(3, 0) is None
    assert ratio(6, 3) == 2


def test_a_goal_is_met_by_what_equals_it():
    assert verdict(4.2, 4.2) == "met"
    assert verdict(4.21, 4.2) == "missed"
    assert verdict(None, 4.2) == verdict(4.2, None) == "–"


def test_a_goal_is_scaled_by_how_slow_the_machine_makes_the_limit():
    assert scaled_reach(4.2, 2 * figures.DESIGN_FLOOR_US) == 8.4
    assert scaled_reach(None, 3.4) is None
    assert scaled_reach(4.2, None) is None


def test_numbers_have_three_digits_and_no_more_than_they_need():
    assert [number(value) for value in (0.0516, 1.234, 12.34, 123.4, 12345.6, 0, None)] == ["0.052", "1.23", "12.3", "123", "12,346", "0", "–"]
    assert number(-167.2) == "-167"


def test_a_table_has_a_column_for_each_title():
    assert table(["", "a"], [["x", 1]]).splitlines() == ["|  | a |", "|---|---|", "| x | 1 |"]
