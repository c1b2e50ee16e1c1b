"""Plots as SVG, of lines over steps of one quantity, or of bars. Colours tell series apart on light and dark pages, and are safe for the colour-blind."""
import html
from typing import NamedTuple

COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#882255", "#888888"]
WIDTH, HEIGHT = 640, 340
LEFT, RIGHT, TOP, BOTTOM = 76, 120, 34, 46


class Series(NamedTuple):
    name: str
    values: list  # None: not measured


def round_steps(most):
    """About five round values up to `most`, from 0 on."""
    if most <= 0:
        return [0, 1]
    step = 10 ** len(str(int(most)))
    for divisor in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000):
        if most / (step / divisor) >= 4:
            step /= divisor
            break
    steps = [0]
    while steps[-1] < most:
        steps.append(steps[-1] + step)
    return steps


def text(x, y, words, anchor="middle", extra=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {extra}>{html.escape(str(words))}</text>'


def number(value):
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.3g}"


class Plot:
    def __init__(self, title, x_title, x_labels, y_title, series):
        self.x_labels, self.series = x_labels, series
        self.steps = round_steps(max([v for s in series for v in s.values if v is not None] or [1]))
        self.out = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12" fill="#777">',
            text(LEFT, 18, title, "start", 'font-size="14" font-weight="bold"'),
            text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x_title),
            text(14, (TOP + HEIGHT - BOTTOM) / 2, y_title, extra=f'transform="rotate(-90 14 {(TOP + HEIGHT - BOTTOM) / 2})"'),
        ]
        for step in self.steps:
            y = self.y(step)
            self.out.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#999" stroke-opacity="0.3"/>' + text(LEFT - 6, y + 4, number(step), "end"))
        for index, label in enumerate(x_labels):
            self.out.append(text(self.x(index), HEIGHT - BOTTOM + 16, label))

    def x(self, index):
        return LEFT + (index + 0.5) * (WIDTH - LEFT - RIGHT) / len(self.x_labels)

    def y(self, value):
        return HEIGHT - BOTTOM - value / self.steps[-1] * (HEIGHT - TOP - BOTTOM)

    def legend(self):
        for index, series in enumerate(self.series):
            y = TOP + 10 + 18 * index
            self.out.append(f'<rect x="{WIDTH - RIGHT + 12}" y="{y - 9}" width="11" height="11" fill="{COLOURS[index]}"/>')
            self.out.append(text(WIDTH - RIGHT + 28, y + 1, series.name, "start"))

    def finish(self):
        return "\n".join([*self.out, "</svg>\n"])


def lines(title, x_title, x_labels, y_title, series):
    plot = Plot(title, x_title, x_labels, y_title, series)
    plot.legend()
    for colour, one in zip(COLOURS, series):
        points = [(plot.x(i), plot.y(v)) for i, v in enumerate(one.values) if v is not None]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        plot.out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        plot.out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
    return plot.finish()


def bars(title, x_title, x_labels, y_title, series):
    """The bars of one label stand side by side."""
    plot = Plot(title, x_title, x_labels, y_title, series)
    plot.legend()
    room = 0.8 * (WIDTH - LEFT - RIGHT) / len(x_labels)
    width = room / len(series)
    for index, (colour, one) in enumerate(zip(COLOURS, series)):
        for place, value in enumerate(one.values):
            if value is not None:
                x, y = plot.x(place) - room / 2 + index * width, plot.y(value)
                plot.out.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width * 0.92:.1f}" height="{HEIGHT - BOTTOM - y:.1f}" fill="{colour}"/>')
    return plot.finish()
