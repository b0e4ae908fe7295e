"""A picture of the dashboard's panels: a real broker and a real Prometheus, while an outage of IMS is rehearsed.

``python -m tests.support.panels docs/observability.svg`` takes two and a half minutes: steady traffic, IMS that answers
503 for a minute, a policy file that is bad meanwhile, and what comes after. Tokens live a minute, so that they end
while IMS is away.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from tests.support.broker_without_vault import BrokerWithoutVault, broker_without_vault
from tests.support.observed import DASHBOARD, filled, panels_of
from tests.support.prometheus_server import PrometheusServer, running_prometheus
from tests.support.traffic import traffic

SECONDS = {"steady": 45.0, "outage": 60.0, "after": 45.0}
TENANTS, PER_SECOND, TOKEN_SECONDS = 12, 60.0, 60.0
COLUMNS, WIDTH, HEIGHT, GAP = 3, 400, 190, 10
PLOT = (52, 30, 338, 108)
"""Left, top, width and height of the plot within a panel."""

COLOURS = ("#1f6fb4", "#d1600a", "#2b8a3e", "#b3261e", "#7048a8", "#8a5a2b", "#c2479b", "#5f6b76", "#8c8a10", "#0e8a94")
UNITS = {"s": "s", "percentunit": "%", "reqps": "/s", "cpm": "/min", "bytes": "B", "short": ""}


@dataclass(frozen=True)
class Series:
    """One series: its name, and values by second since the beginning."""

    name: str
    points: tuple[tuple[float, float], ...]


async def rehearse(broker: BrokerWithoutVault) -> None:
    """Traffic, and what is to be seen in the picture."""

    async def ask(number: int) -> Any:
        tenant = broker.tenants[number % TENANTS]
        stranger = number % 40 == 0
        return await broker.replica.token(tenant.org if not stranger else f"{'0' * 24}@AdobeOrg")

    async with traffic(ask, PER_SECOND):
        await asyncio.sleep(SECONDS["steady"])
        broker.sandbox.fault("status", status=503)
        await asyncio.sleep(SECONDS["outage"] / 3)
        good = broker.policy.path.read_text()
        broker.policy.path.write_text(good.replace('"version": 1', '"version": 99'))
        await asyncio.sleep(SECONDS["outage"] / 3)
        broker.policy.path.write_text(good)
        await asyncio.sleep(SECONDS["outage"] / 3)
        broker.sandbox.clear_faults()
        await asyncio.sleep(SECONDS["after"])


def lines_of(panel: dict[str, Any], prometheus: PrometheusServer, start: float, end: float) -> list[Series]:
    """What a panel shows, by Prometheus's own answer to its expressions."""
    lines = []
    for target in panel["targets"]:
        expression = filled(target["expr"], __rate_interval="8s")
        for series in prometheus.range(expression, start, end, 1.0):
            name = target["legendFormat"]
            for label, value in series["metric"].items():
                name = name.replace("{{" + label + "}}", value)
            points = tuple((at - start, float(value)) for at, value in series["values"] if math.isfinite(float(value)))
            if points:
                lines.append(Series(name, points))
    return sorted(lines, key=lambda line: -max(value for _, value in line.points))[: len(COLOURS)]


def stacked(lines: Sequence[Series]) -> list[Series]:
    """Each line on top of those before it."""
    below: dict[float, float] = {}
    piled = []
    for line in lines:
        points = []
        for at, value in line.points:
            below[at] = below.get(at, 0.0) + value
            points.append((at, below[at]))
        piled.append(Series(line.name, tuple(points)))
    return piled


def shown(value: float, unit: str) -> str:
    """A value at the axis, short."""
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "bytes":
        return f"{value / 1048576:.3g} MiB"
    return f"{value:.3g} {UNITS.get(unit, '')}".strip()


def drawn(panel: dict[str, Any], lines: Sequence[Series], length: float) -> str:
    """A panel as SVG."""
    left, top, width, height = PLOT
    unit = panel["fieldConfig"]["defaults"]["unit"]
    pile = panel["fieldConfig"]["defaults"].get("custom", {}).get("stacking", {}).get("mode") == "normal"
    plotted = stacked(lines) if pile else list(lines)
    values = [value for line in plotted for _, value in line.points]
    low, high = min([0.0, *values]), max([0.0, *values])
    high = high * 1.08 if high > low else low + 1.0
    parts = [
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="4" fill="#ffffff" stroke="#c8ced6"/>',
        f'<text x="10" y="19" class="t">{escape(panel["title"])}</text>',
    ]
    outage = SECONDS["steady"], SECONDS["steady"] + SECONDS["outage"]
    x0, x1 = (left + width * at / length for at in outage)
    parts.append(f'<rect x="{x0:.1f}" y="{top}" width="{x1 - x0:.1f}" height="{height}" fill="#fbe3e0"/>')
    for share in (0.0, 0.5, 1.0):
        y = top + height * (1 - share)
        parts.append(f'<line x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dfe3e8"/>')
        label = escape(shown(low + (high - low) * share, unit))
        parts.append(f'<text x="{left - 4}" y="{y + 3:.1f}" class="a" text-anchor="end">{label}</text>')
    for number, line in reversed(list(enumerate(plotted))):
        place = [
            f"{left + width * at / length:.1f},{top + height * (1 - (value - low) / (high - low)):.1f}"
            for at, value in line.points
        ]
        colour = COLOURS[number]
        if pile:
            ends = [f"{point.split(',')[0]},{top + height}" for point in (place[-1], place[0])]
            parts.append(f'<polygon points="{" ".join(place + ends)}" fill="{colour}" fill-opacity="1"/>')
        parts.append(f'<polyline points="{" ".join(place)}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    return "".join([*parts, *legend([line.name for line in lines])])


def legend(names: Sequence[str]) -> list[str]:
    """The names of the lines below the plot, as many as there is room for."""
    parts, x, y = [], 12.0, PLOT[1] + PLOT[3] + 17
    for number, name in enumerate(names):
        needed = 20 + 6.2 * len(name)
        if x + needed > WIDTH and x > 12:
            x, y = 12.0, y + 13
        if y > HEIGHT - 5:
            break
        parts.append(f'<rect x="{x:.0f}" y="{y - 7}" width="8" height="8" fill="{COLOURS[number]}"/>')
        parts.append(f'<text x="{x + 11:.0f}" y="{y}" class="a">{escape(name)}</text>')
        x += needed
    return parts


def picture(panels: Sequence[tuple[dict[str, Any], list[Series]]], length: float) -> str:
    """All panels that have data, in the dashboard's order, as one SVG with a background of its own."""
    rows = -(-len(panels) // COLUMNS)
    size = COLUMNS * (WIDTH + GAP) + GAP, rows * (HEIGHT + GAP) + GAP
    cells = []
    for number, (panel, lines) in enumerate(panels):
        x, y = GAP + number % COLUMNS * (WIDTH + GAP), GAP + number // COLUMNS * (HEIGHT + GAP)
        cells.append(f'<g transform="translate({x},{y})">{drawn(panel, lines, length)}</g>')
    style = (
        "text{font-family:Helvetica,Arial,sans-serif;fill:#1b2530}.t{font-size:13px;font-weight:bold}.a{font-size:10px}"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]} {size[1]}" role="img">'
    title = "<title>The dashboard's panels during a rehearsed outage of IMS (shaded)</title>"
    ground = f'<style>{style}</style><rect width="{size[0]}" height="{size[1]}" fill="#f1f3f6"/>'
    return "\n".join([head, title, ground, *cells, "</svg>"]) + "\n"


def main() -> None:
    """Rehearse, ask Prometheus, draw."""
    target = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            broker_without_vault(folder, TENANTS, TOKEN_SECONDS) as broker,
            running_prometheus(folder, [f"127.0.0.1:{broker.replica.port}"], None, 1.0) as prometheus,
        ):
            start = time.time()
            asyncio.run(rehearse(broker))
            end = time.time()
            panels = panels_of(json.loads(DASHBOARD.read_text()))
            found = [(panel, lines_of(panel, prometheus, start, end)) for panel in panels]
    target.write_text(picture([(panel, lines) for panel, lines in found if lines], end - start))


if __name__ == "__main__":
    main()
