"""Charts as SVG: lines and bars, nothing that needs a script or the network."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

_WIDTH, _HEIGHT = 460, 316
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 54, 44
_COLOURS = ("#1f6feb", "#d1242f", "#2da44e", "#8250df")
_TICKS = 5
_LEGEND_TOP = 24
_CHARACTER = 6.2

Values = Sequence[float] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Axis:
    """What an axis shows, and from where to where; on a logarithmic one both are above 0."""

    label: str
    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float:
        """Return where a value lies, from 0 at the low end to 1 at the high end.

        >>> Axis("", 1.0, 100.0, log=True).place(10.0)
        0.5
        """
        value = min(max(value, self.low), self.high)
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Return values to be named along the axis.

        >>> Axis("", 0.01, 1.0, log=True).ticks()
        [0.01, 0.1, 1.0]
        """
        if self.log:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            return [10.0**power for power in range(first, last + 1)]
        step = (self.high - self.low) / _TICKS
        return [self.low + step * number for number in range(_TICKS + 1)]


@dataclass(frozen=True, slots=True)
class Line:
    """A named line through points; a faint one is there to compare with."""

    name: str
    xs: Values
    ys: Values
    faint: bool = False


@dataclass(frozen=True, slots=True)
class Bars:
    """A named row of bars; one has its height between each two edges."""

    name: str
    edges: Values
    heights: Values


def chart(
    title: str, x: Axis, y: Axis, lines: Sequence[Line] = (), bars: Sequence[Bars] = ()
) -> str:
    """Return a chart; what is not finite is left out."""
    parts = [*_frame(title, x, y)]
    for number, row in enumerate(bars):
        parts += _bars(row, x, y, _COLOURS[number % len(_COLOURS)])
    for number, line in enumerate(lines):
        colour = "#8c959f" if line.faint else _COLOURS[number % len(_COLOURS)]
        parts.append(_polyline(line, x, y, colour))
    parts += _legend(lines, bars)
    box = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {box}>{"".join(parts)}</svg>'


def _x(axis: Axis, value: float) -> float:
    return round(_LEFT + axis.place(value) * (_WIDTH - _LEFT - _RIGHT), 1)


def _y(axis: Axis, value: float) -> float:
    return round(_HEIGHT - _BOTTOM - axis.place(value) * (_HEIGHT - _TOP - _BOTTOM), 1)


def _frame(title: str, x: Axis, y: Axis) -> Iterator[str]:
    yield _text(_LEFT, 16, title, "title")
    for value in x.ticks():
        at = _x(x, value)
        yield f'<path class="grid" d="M{at} {_TOP}V{_HEIGHT - _BOTTOM}"/>'
        yield _text(at, _HEIGHT - _BOTTOM + 14, _number(value), "middle")
    for value in y.ticks():
        at = _y(y, value)
        yield f'<path class="grid" d="M{_LEFT} {at}H{_WIDTH - _RIGHT}"/>'
        yield _text(_LEFT - 5, at + 4, _number(value), "end")
    yield _text((_LEFT + _WIDTH) / 2, _HEIGHT - 8, x.label, "middle")
    yield _text(4, _TOP - 6, y.label, "start")


def _polyline(line: Line, x: Axis, y: Axis, colour: str) -> str:
    points: dict[str, None] = {}
    for at, value in zip(line.xs, line.ys, strict=True):
        if math.isfinite(at) and math.isfinite(value):
            points[f"{_x(x, at):.0f},{_y(y, value):.0f}"] = None  # one a pixel is enough
    dashes = ' stroke-dasharray="4 4"' if line.faint else ""
    return f'<polyline points="{" ".join(points)}" stroke="{colour}"{dashes} class="line"/>'


def _bars(row: Bars, x: Axis, y: Axis, colour: str) -> Iterator[str]:
    base = _y(y, y.low)
    for low, high, height in zip(row.edges[:-1], row.edges[1:], row.heights, strict=True):
        if math.isfinite(height) and height > y.low:
            left, right, top = _x(x, low), _x(x, high), _y(y, height)
            yield (
                f'<rect x="{left}" y="{top}" width="{max(right - left - 1, 1):.1f}" '
                f'height="{base - top:.1f}" fill="{colour}" fill-opacity="0.55"/>'
            )


def _legend(lines: Sequence[Line], bars: Sequence[Bars]) -> Iterator[str]:
    named: Iterable[tuple[str, str]] = [
        *((row.name, _COLOURS[at % len(_COLOURS)]) for at, row in enumerate(bars)),
        *(
            (line.name, "#8c959f" if line.faint else _COLOURS[at % len(_COLOURS)])
            for at, line in enumerate(lines)
        ),
    ]
    left = float(_LEFT)
    for name, colour in named:
        yield f'<rect x="{left:g}" y="{_LEGEND_TOP}" width="10" height="10" fill="{colour}"/>'
        yield _text(left + 14, _LEGEND_TOP + 9, name, "start")
        left += 26 + _CHARACTER * len(name)


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(text)}</text>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
