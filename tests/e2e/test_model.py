"""The cache says what a model of RFC 9111 says. `make model` is the long run of it."""
import pathlib
import sys

from harness.outrigger import BINARY, SLOW

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/model"))
import model  # noqa: E402

DRIVER = pathlib.Path(BINARY).parent / "model/cache_driver"


def test_random_sequences_get_the_verdicts_of_the_model():
    reports = model.run(str(DRIVER), "1", range(2000 if SLOW == 1 else 500))
    assert not reports, reports[0]


def test_a_wrong_verdict_is_noticed_and_made_small():
    steps = model.make("1", 7)
    (replies,) = model.drive(str(DRIVER), [steps])
    assert model.judge(steps, replies) is None
    requests = [r for step, reply in zip(steps, replies) if step["do"] == "requests" for r in reply]
    requests[-1]["fwd"] = "partial"
    assert "the model" in model.judge(steps, replies)
