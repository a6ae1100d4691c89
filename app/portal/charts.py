"""The geometry of charts, as numbers for SVG attributes: the pages have no inline style."""

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import msgspec
from markupsafe import Markup, escape

from app.deliveries.health import Bar
from app.portal.formats import iso

HEIGHT: Final = 100.0
STEP: Final = 10.0  # one bar and the gap after it
BAR: Final = 8.2
#: A single failure among thousands must still be seen.
LEAST: Final = 1.6
SPARK: Final = (96.0, 24.0)
SPARK_POINTS: Final = 24
#: Where an axis may end: numbers that people halve in their head.
_ROUND: Final = (1, 2, 4, 6, 8, 10)


class Part(msgspec.Struct, frozen=True):
    """One coloured piece of a bar."""

    word: str
    y: float
    height: float


class Column(msgspec.Struct, frozen=True):
    x: float
    bar: Bar
    parts: list[Part]


class Chart(msgspec.Struct, frozen=True):
    """Stacked bars of outcomes over time; `peak` is what the full height stands for."""

    columns: list[Column]
    width: float
    peak: int
    ticks: list[datetime]

    @property
    def is_empty(self) -> bool:
        return self.peak == 0

    @property
    def half(self) -> int | None:
        """What half the height stands for; None where that is no whole number."""
        return None if self.peak % 2 else self.peak // 2


def outcome_chart(bars: Sequence[Bar]) -> Chart:
    peak = round_up(max((_total(bar) for bar in bars), default=0))
    columns = [
        Column(round(n * STEP, 1), bar, _parts(bar, peak)) for n, bar in enumerate(bars) if peak
    ]
    quarter = max(1, len(bars) // 4)
    ticks = [bar.start for bar in bars[::quarter][:4]]
    return Chart(columns, max(STEP, len(bars) * STEP), peak, ticks)


def round_up(peak: int) -> int:
    """Return the end of an axis that holds `peak`: 551 needs 600, 41 needs 60."""
    if peak <= 0:
        return 0
    power: int = 10 ** int(math.log10(peak))
    return next(step * power for step in _ROUND if step * power >= peak)


def _total(bar: Bar) -> int:
    return bar.delivered + bar.retrying + bar.failed


def _parts(bar: Bar, peak: int) -> list[Part]:
    parts, floor = [], HEIGHT
    for word in ("delivered", "retrying", "failed"):
        count: int = getattr(bar, word)
        if count:
            height = max(LEAST, count / peak * (HEIGHT - 2 * LEAST))
            floor -= height
            parts.append(Part(word, round(floor, 2), round(height, 2)))
    return parts


def bars_of(chart: Chart, slice_link: Callable[[datetime], str] | None = None) -> Markup:
    """Draw the bars; one with attempts leads to its slice. A template takes ten times as long."""
    return Markup("\n").join(_bar(column, slice_link) for column in chart.columns)


def _bar(column: Column, slice_link: Callable[[datetime], str] | None) -> Markup:
    x, bar = column.x, column.bar
    counts = f"{bar.delivered},{bar.retrying},{bar.failed}"
    go = f' data-go="{escape(slice_link(bar.start))}"' if slice_link and column.parts else ""
    parts = "".join(
        f'<rect class="{part.word}" x="{x}" y="{part.y}" width="{BAR}" height="{part.height}"/>'
        for part in column.parts
    )
    return Markup(  # noqa: S704  # nosec B704  # numbers, an escaped address
        f'<g data-at="{iso(bar.start)}" data-counts="{counts}"{go}>'
        f'<rect class="band" x="{x}" y="0" width="{STEP:g}" height="{HEIGHT:g}"/>{parts}</g>'
    )


def spark(bars: Sequence[Bar], *words: str) -> str:
    """Return the points of a line over the bars' counts of these words."""
    counts = [sum(getattr(bar, word) for word in words) for bar in bars]
    per_point = max(1, len(counts) // SPARK_POINTS)
    values = [sum(counts[n : n + per_point]) for n in range(0, len(counts), per_point)]
    width, height = SPARK
    peak = max(values, default=0) or 1
    step = width / max(1, len(values) - 1)
    room = height - 4
    return " ".join(
        f"{n * step:.1f},{height - 2 - value / peak * room:.1f}" for n, value in enumerate(values)
    )
