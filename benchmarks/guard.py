"""Fail if the warm path has become slower than the committed results say: ``python -m benchmarks.guard``.

Compared are ratios to a raw ASGI app, by CPU time, in runs of one second that take turns, so that neither the kind of
machine nor its other work decides. A ratio counts as lost only if the medians of two separate series are below
`LEAST_SHARE` of the committed one. Needs ``wrk``, and takes less than a minute.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from contextlib import ExitStack

from benchmarks.load import Effort, take_turns
from benchmarks.report import Results, read_results
from benchmarks.scene import scene
from benchmarks.warm_path import GUARDED, RAW, requests_of, servers

LEAST_SHARE = 0.8
"""The share of the committed ratio that must be reached."""

SERIES = 2
_EFFORT = Effort(seconds=1, rounds=5)


def committed_ratios(results: Results) -> Mapping[str, float]:
    """The committed ratios to the raw app, by the name of the figure.

    Raises:
        SystemExit: The results lack one.

    """
    section = results.get("warm_path")
    known = {} if section is None else {(row.what, row.reference): row.value for row in section.rows}
    wanted = {name: (requests_of(name), RAW) for name in GUARDED}
    if missing := [name for name, row in wanted.items() if row not in known]:
        raise SystemExit(f"The committed results lack {', '.join(missing)}: run `make bench ARGS=warm_path`.")
    return {name: known[row] for name, row in wanted.items()}


def lost(seen: Mapping[str, float], committed: Mapping[str, float]) -> list[str]:
    """The figures that are below `LEAST_SHARE` of what was committed."""
    return [name for name, ratio in committed.items() if seen[name] < LEAST_SHARE * ratio]


def measured() -> Mapping[str, float]:
    """One series: the ratios to the raw app."""
    with scene() as stage, ExitStack() as stack:
        turns = take_turns(servers(stage, stack, is_short=True), _EFFORT)
    return {name: turns.ratio(name, RAW) for name in GUARDED}


def main() -> None:
    """Measure; exit with 1 if a ratio was lost in every series."""
    argparse.ArgumentParser(prog="python -m benchmarks.guard", description=__doc__.partition("\n")[0]).parse_args()
    committed = committed_ratios(read_results())
    for series in range(1, SERIES + 1):
        seen = measured()
        for name, ratio in seen.items():
            print(f"{name}: {ratio:.2f} of the raw ASGI app, committed {committed[name]:.2f}", flush=True)
        slower = lost(seen, committed)
        if not slower:
            return
        print(f"Series {series} of {SERIES}: below {LEAST_SHARE} of the committed ratio: {', '.join(slower)}")
    sys.exit("The warm path has become slower. If that is the price of something, commit new results: `make bench`.")


if __name__ == "__main__":
    main()
