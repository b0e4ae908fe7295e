"""Plots of lines and of bars as SVG, without a library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 860, 250, 60, 34, 36
_TICKS = 5
_BAR_HEIGHT, _BAR_LEFT, _INDENT = 22, 470, 18

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """One set of axes, which begin at 0.

    Args:
        title: What it shows.
        line: The points.
        unit: Of the horizontal axis.
        reference: The points of a thin line to compare with.

    """

    title: str
    line: Points
    unit: str
    reference: Points


@dataclass(frozen=True)
class Bar:
    """One bar.

    Args:
        name: What it shows.
        value: Its length.
        depth: Says which bar above contains it.

    """

    name: str
    value: float
    depth: int


def write_bars(path: Path, title: str, unit: str, bars: Sequence[Bar]) -> None:
    """Write horizontal bars, in their order."""
    height = _TOP + _BAR_HEIGHT * len(bars) + 10
    longest = max(bar.value for bar in bars)
    drawn = (
        line
        for number, bar in enumerate(bars)
        for line in _bar(bar, unit, bar.value / longest, _TOP + number * _BAR_HEIGHT)
    )
    path.write_text("\n".join((_head(height), _title(title, 0), *drawn, "</svg>", "")))


def write_plot(path: Path, panels: Sequence[Panel]) -> None:
    """Write the panels, one below the other."""
    height = _HEIGHT * len(panels)
    drawn = (line for number, panel in enumerate(panels) for line in _panel(panel, number * _HEIGHT))
    path.write_text("\n".join((_head(height), *drawn, "</svg>", "")))


def _head(height: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
        f'font-size="12">\n<rect width="{_WIDTH}" height="{height}" fill="#fff"/>'
    )


def _title(text: str, top: int) -> str:
    return f'<text x="{_LEFT}" y="{top + 20}" font-weight="bold">{escape(text)}</text>'


def _bar(bar: Bar, unit: str, share: float, top: int) -> Iterator[str]:
    length = share * (_WIDTH - _BAR_LEFT - 80)
    base = top + _BAR_HEIGHT - 8
    colour = "#06c" if bar.depth == 0 else "#69d"
    yield f'<text x="{10 + bar.depth * _INDENT}" y="{base}">{escape(bar.name)}</text>'
    yield f'<rect x="{_BAR_LEFT}" y="{top + 2}" width="{length:.1f}" height="{_BAR_HEIGHT - 6}" fill="{colour}"/>'
    yield f'<text x="{_BAR_LEFT + length + 6:.1f}" y="{base}">{bar.value:.2f} {escape(unit)}</text>'


def _panel(panel: Panel, top: int) -> Iterator[str]:
    across = max(at for at, _ in panel.line)
    up = 1.1 * max(value for _, value in (*panel.line, *panel.reference))
    bottom, right = top + _HEIGHT - _BOTTOM, _WIDTH - 20

    def place(point: tuple[float, float]) -> str:
        x = _LEFT + point[0] / across * (right - _LEFT)
        return f"{min(x, right):.1f},{bottom - point[1] / up * (bottom - top - _TOP):.1f}"

    yield _title(panel.title, top)
    for tick in range(_TICKS + 1):
        value, share = up * tick / _TICKS, tick / _TICKS
        y = bottom - share * (bottom - top - _TOP)
        yield f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#ddd"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>'
        x = _LEFT + share * (right - _LEFT)
        yield f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{across * share:.3g}</text>'
    yield f'<text x="{right}" y="{bottom + 32}" text-anchor="end">{escape(panel.unit)}</text>'
    yield f'<polyline fill="none" stroke="#888" points="{" ".join(map(place, panel.reference))}"/>'
    yield f'<polyline fill="none" stroke="#06c" stroke-width="1.8" points="{" ".join(map(place, panel.line))}"/>'
