"""What is said of the architectures that were measured side by side: tables and plots, in docs/ARCHITECTURES.md between the markers of each experiment."""
import statistics

import document
import plot
from figures import number, table
from measurement import where_and_when

FIGURES = {  # (title, of one measurement)
    "rate": ("requests/s", lambda ran: ran["groups"]["load"]["rate"]),
    "p99": ("p99, ms", lambda ran: ran["groups"]["load"]["latency_us"]["p99"] / 1000),
    "cpu": ("CPU, µs a request", lambda ran: ran["cpu_seconds"] * 1e6 / max(1, ran["groups"]["load"]["requests"])),
    "memory": ("memory in all, MB", lambda ran: ran["memory"] / 1e6),
    "misses": ("% asked of the origin", lambda ran: 100 * ran["fetched"] / max(1, ran["groups"]["load"]["requests"])),
}
X_TITLES = {"file-size": "size", "replay": "", "data-set": "data set, in multiples of the cache's memory", "connections": "connections", "breakdown": "size"}
BARS = {"replay"}
ROUNDS_LEAST = 6  # for anything to be said of a median at 95 %
PAGE = document.DOCS / "ARCHITECTURES.md"


class Goal:
    """What is claimed: a figure of AMPED, divided by another's in the same round, is at least, or at most, so much."""

    def __init__(self, figure, other, least=None, most=None):
        self.figure, self.other, self.least, self.most = figure, other, least, most

    def title(self):
        sign = f"≥ {self.least:.3g}" if self.least else f"≤ {self.most:.3g}"
        return f"{FIGURES[self.figure][0].split(',')[0]}, ÷ {self.other} ({sign})"

    def verdict(self, low, high):
        if self.least is not None:
            return "yes" if low >= self.least else "no" if high < self.least else "not told apart"
        return "yes" if high <= self.most else "no" if low > self.most else "not told apart"


CACHED_GOALS = [Goal("rate", "SPED", least=0.98), Goal("cpu", "SPED", most=1 / 0.98)]
BOUND_GOALS = [Goal(figure, other, **bound) for other in ("MT", "MP") for figure, bound in (("rate", {"least": 1}), ("p99", {"most": 1}))]


def values_of(rounds, figure):
    return [measured[figure] for measured in rounds if measured]


def median_of(rounds, figure):
    values = values_of(rounds, figure)
    return statistics.median(values) if values else None


def median(rounds, figure):
    return plot.number(median_of(rounds, figure))


def ratios(rounds, others, figure):
    """Round by round."""
    return sorted(one[figure] / other[figure] for one, other in zip(rounds, others) if one and other and other[figure])


def interval(values):
    """Where the true median is, at 95 % or a little more: between the k-th least and the k-th greatest, however the values are distributed. All of them, where
    there are fewer than ROUNDS_LEAST."""
    count, k, tail, ways = len(values), 0, 0.0, 1
    while k < count // 2 and 2 * (tail + ways) / 2**count <= 0.05:
        tail += ways
        ways = ways * (count - k) // (k + 1)
        k += 1
    k = max(k, 1)
    return values[k - 1], values[count - k]


def figures_table(labels, result, figure):
    return table([FIGURES[figure][0], *labels], [[name, *(median(rounds, figure) for rounds in steps)] for name, steps in result.items()])


def claim_cell(goal, rounds, others):
    values = ratios(rounds, others, goal.figure)
    if not values:
        return "–"
    if len(values) < ROUNDS_LEAST:
        return number(statistics.median(values))
    low, high = interval(values)
    return f"{number(statistics.median(values))} ({number(low)}–{number(high)}): {goal.verdict(low, high)}"


def claims_table(labels, bound, result):
    """Of AMPED; None: it says nothing here."""
    rows = []
    for goals, is_bound in ((CACHED_GOALS, False), (BOUND_GOALS, True)):
        steps = [index for index in range(len(labels)) if bound[index] == is_bound]
        for goal in goals if steps else []:
            if goal.other in result and "AMPED" in result:
                cells = {index: claim_cell(goal, result["AMPED"][index], result[goal.other][index]) for index in steps}
                rows.append([goal.title(), *(cells.get(index, "") for index in range(len(labels)))])
    return table(["AMPED's …", *labels], rows) if rows else None


def parts_table(labels, result):
    """Of the breakdown: what each cache is worth, in CPU, within a round."""
    names = list(result)
    rows = [[name, *(number(statistics.median(ratios(of, whole, "cpu")) if ratios(of, whole, "cpu") else None) for of, whole in zip(result[name], result[names[0]]))]
            for name in names[1:]]
    return table([f"CPU a request, × {names[0]}", *labels], rows)


def text_of(name, labels, bound, result, drawn=lambda figure: ""):
    """As Markdown; `drawn`: the line that shows a plot, or nothing."""
    out = []
    for figure in FIGURES:
        out.append(drawn(figure))
        if figure == "memory" and name != "connections":
            continue
        if figure != "misses" or any((median_of(rounds, figure) or 0) >= 0.1 for steps in result.values() for rounds in steps):
            out.append(figures_table(labels, result, figure))
    out.append(parts_table(labels, result) if name == "breakdown" else claims_table(labels, bound, result))
    return "\n\n".join(part for part in out if part)


def put(name, labels, bound, result, options):
    """Into the document."""

    def drawn(figure):
        if figure not in ("rate", "p99") or (name == "breakdown" and figure == "p99"):
            return ""
        title, shape = FIGURES[figure][0], plot.bars if name in BARS else plot.lines
        series = [plot.Series(variant, [median_of(rounds, figure) for rounds in steps]) for variant, steps in result.items()]
        return document.draw(PAGE, f"{name}-{figure}", title, shape(f"{name}: {title}", X_TITLES[name], labels, title, series))

    rounds = max(len(rounds) for steps in result.values() for rounds in steps)
    how = f"{where_and_when()}; medians of {rounds} rounds of {options.seconds:g} s."
    document.put(PAGE, f"make bench-architectures CASES={name}", f"{how}\n\n{text_of(name, labels, bound, result, drawn)}")
