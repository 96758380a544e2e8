"""Curves as inline SVG: names and points in, markup out that follows the page's colours.

Drawn by the server and replaced as a whole, so nothing flickers, nothing is fetched and no script
runs. Colours stand in style.css, for light and dark pages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 330, 160
LEFT, RIGHT, TOP, BOTTOM = 36, 12, 8, 22  # room for the numbers of the axes
DRAWN = 160  # points a line at most: each is the mean of what lies between
TICKS = 4


@dataclass(frozen=True)
class Line:
    """One curve; ``colour`` is the number of a colour of the style sheet, from 1."""

    name: str
    points: Points
    colour: int
    dotted: bool = False  # every point gets a dot: few of them, and each counts


def chart(
    title: str,
    lines: Sequence[Line],
    *,
    x_end: float,
    y_end: float | None = None,
    guide: tuple[str, float] | None = None,
    is_share: bool = False,
) -> str:
    """A figure with its legend. ``x_end`` is where the axis ends, ``y_end`` too if it is known.

    ``guide`` is a name and a height for a dashed line; shares are shown in percent.
    """
    shown = [line for line in lines if line.points]
    highest = max((y for line in shown for _, y in line.points), default=0.0)
    top = y_end or _ceiling(max(highest, guide[1] if guide else 0.0))
    last = max(x_end, *(line.points[-1][0] for line in shown)) if shown else x_end
    frame = _Frame(max(last, 1.0), top)
    body = [_grid(frame, is_share=is_share)]
    if guide is not None:
        name, height = guide
        y = frame.y(height)
        body.append(f'<path class="t2-guide" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        body.append(
            f'<text class="t2-guide-name" x="{WIDTH - RIGHT}" y="{y - 4:.1f}">{escape(name)}</text>'
        )
    body += [_drawn(line, frame) for line in shown]
    legend = "".join(_legend(line, is_share=is_share) for line in shown)
    return (
        f'<figure class="t2-chart"><figcaption><strong>{escape(title)}</strong>'
        f'<span class="t2-keys">{legend}</span></figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(body)}</svg></figure>"
    )


@dataclass(frozen=True)
class _Frame:
    """From figures to pixels."""

    x_end: float
    y_end: float

    def x(self, value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * value / self.x_end

    def y(self, value: float) -> float:
        share = min(max(value / self.y_end, 0.0), 1.0)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def thinned(points: Points, limit: int = DRAWN) -> Points:
    """At most so many points: means over equal stretches; the last point stays."""
    if len(points) <= limit:
        return points
    bounds = [round(part * (len(points) - 1) / (limit - 1)) for part in range(limit)]
    means = [
        (sum(x for x, _ in some) / len(some), sum(y for _, y in some) / len(some))
        for begin, end in pairwise(bounds)
        for some in [points[begin:end]]
    ]
    return [*means, points[-1]]


def _drawn(line: Line, frame: _Frame) -> str:
    at = [(frame.x(x), frame.y(y)) for x, y in thinned(line.points)]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in at)
    dots = at if line.dotted else at[-1:]
    marks = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>' for x, y in dots)
    return f'<g class="t2-line t2-line-{line.colour}"><path d="{path}"/>{marks}</g>'


def _legend(line: Line, *, is_share: bool) -> str:
    return (
        f'<span class="t2-key t2-line-{line.colour}"><i></i>{escape(line.name)}'
        f" <b>{_figure(line.points[-1][1], is_share=is_share)}</b></span>"
    )


def _grid(frame: _Frame, *, is_share: bool) -> str:
    parts = []
    for value in _ticks(frame.y_end):
        y = frame.y(value)
        parts.append(f'<path class="t2-grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        text = f"{value:.0%}" if is_share else f"{value:g}"
        parts.append(f'<text class="t2-y" x="{LEFT - 6}" y="{y + 3.5:.1f}">{text}</text>')
    for value in _ticks(frame.x_end):
        text = f"{value:g}" if value else "step 0"
        x = frame.x(value)
        parts.append(f'<text class="t2-x" x="{x:.1f}" y="{HEIGHT - 6}">{text}</text>')
    return "".join(parts)


def _step(end: float) -> float:
    """A round distance between marks of an axis from 0 to there."""
    rough = end / TICKS
    power = float(10 ** math.floor(math.log10(rough)))
    return next(power * times for times in (1, 2, 2.5, 5, 10) if power * times >= rough * 0.999)


def _ticks(end: float) -> list[float]:
    step = _step(end)
    return [round(number * step, 10) for number in range(int(end / step * 1.001) + 1)]


def _ceiling(value: float) -> float:
    """The next mark above, so that no curve runs along the rim."""
    if value <= 0:
        return 1.0
    step = _step(value)
    return math.ceil(value / step * 1.0001) * step


def _figure(value: float, *, is_share: bool) -> str:
    return f"{value:.1%}" if is_share else f"{value:.3f}"
