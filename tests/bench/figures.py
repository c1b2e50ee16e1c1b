"""Figures of a comparison: medians, ratios, what is reached. Pure: numbers in, numbers and Markdown out.

Results are {case: {server: {figure: value}}}."""
import statistics

DESIGN_FLOOR_US = 3.4  # DESIGN §11: the raw epoll row of the machine that its numbers are from


def median_of(rounds):
    """Of figures, round by round."""
    return {figure: statistics.median(one[figure] for one in rounds) for figure in rounds[0]}


def best_peer(of_case, figure, ours, limit):
    """The name of the peer with the least of a figure; None: there is none. We are no peer, the limit is none either."""
    peers = {name: measured[figure] for name, measured in of_case.items() if name not in (ours, limit) and measured.get(figure) is not None}
    return min(peers, key=peers.get) if peers else None


def ratio(value, to):
    return None if value is None or not to else value / to


def verdict(value, reach):
    if value is None or reach is None:
        return "–"
    return "met" if value <= reach else "missed"


def scaled_reach(reach, floor_us):
    """The goal as it would be on this machine now: by how much slower it makes the raw epoll row."""
    return None if reach is None or floor_us is None else reach * floor_us / DESIGN_FLOOR_US


def number(value, digits=3):
    """To so many digits, as a table has it."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    return f"{value:,.{max(0, digits - whole)}f}"


def row(cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def table(head, rows):
    return "\n".join([row(head), "|" + "---|" * len(head), *(row(cells) for cells in rows)])
