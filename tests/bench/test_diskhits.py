"""What is made of one round's counts."""
import diskhits


def test_hits_from_memory_among_the_cold_ones_are_taken_off_at_their_price():
    hot = {"loop": 0.010, "requests": 1000}
    cold = {"rate": 1, "loop": 0.026, "helper": 0.004, "requests": 1000, "hits": 800, "to_helper": 100, "to_loop": 0}
    of = diskhits.figures(cold, hot)
    assert {name: round(value, 3) for name, value in of.items()} == {
        "rate": 1, "from_disk": 80, "hot_us": 10, "cold_us": 30, "helper_us": 5, "to_helper": 8, "to_loop": 800,
    }
    assert len(diskhits.HEAD) == 1 + len(of)
