"""How the public cache tests are counted."""
import cache_tests
from cache_tests import FAILED, NOT_JUDGED, PASSED


def test(name, result, *needs, kind="required"):
    return {"id": name, "kind": kind, "needs": list(needs), "result": result}


test.__test__ = False
YES, NO, UNPREPARED = True, ["Assertion", "it is not so"], ["Setup", "it did not come to that"]


def test_a_test_is_judged_where_those_that_it_rests_on_passed():
    tests = [
        test("good", YES), test("bad", NO), test("stuck", ["FetchError", "nobody is there"]), test("unprepared", UNPREPARED),
        test("on good", NO, "good"), test("on bad", YES, "good", "bad"), test("on that", YES, "on bad"), test("on nothing", YES, "unknown"),
    ]
    assert cache_tests.verdicts(tests) == {
        "good": PASSED, "bad": FAILED, "stuck": FAILED, "unprepared": NOT_JUDGED,
        "on good": FAILED, "on bad": NOT_JUDGED, "on that": NOT_JUDGED, "on nothing": NOT_JUDGED,
    }


def test_of_several_runs_the_usual_counts():
    rounds = [dict(zip("abcd", words)) for words in ((PASSED, PASSED, NOT_JUDGED, FAILED), (PASSED, NOT_JUDGED, FAILED, FAILED))]
    assert cache_tests.usual(rounds) == {"a": PASSED, "b": NOT_JUDGED, "c": FAILED, "d": FAILED}
    assert cache_tests.usual([*rounds, rounds[0]]) == {"a": PASSED, "b": PASSED, "c": NOT_JUDGED, "d": FAILED}
    assert cache_tests.unsteady(rounds) == ["b", "c"]


def test_each_kind_is_counted_by_itself():
    tests = [test("a", YES), test("b", NO), test("c", YES, kind="optimal"), test("d", UNPREPARED, kind="check")]
    assert cache_tests.counts(tests, cache_tests.verdicts(tests)) == [1, 1, 0, 1, 0, 0, 0, 0, 1]
    assert len(cache_tests.HEAD) == 1 + 9
