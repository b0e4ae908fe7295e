"""Which faults a soak injects, and when: drawn from the seed alone, so that a seed gives the same plan again."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice

from typing_extensions import override

STORM_SECONDS = 28.0
CALM_SECONDS = 20.0
"""Between two storms nothing fails, so that what must recover is seen to recover."""

MEAN_PAUSE_SECONDS = 1.0
"""Between the beginnings of two faults."""

_TRIES = 5
FIRST_SECONDS = 5.0
LONGEST_FAULT_SECONDS = 9.0

DENIED_SECONDS = 10.0
"""How much longer a right is taken away: a broker may take some seconds to notice."""

REPLICAS = 3
STEPPED = 1
"""The replica whose wall clock is set forward and back."""

IMS_FAULTS = ("status", "latency", "garbage", "html", "empty", "hang", "lost", "wrong_unit", "expired_token")


@dataclass(frozen=True)
class PlannedFault:
    """One fault.

    Args:
        at: When it begins, in seconds since the beginning of the run.
        kind: What happens.
        target: What it hits; as in `Disturbed`.
        seconds: How long it lasts; 0 for what happens at once.
        draw: A seed for further choices, such as which keys of Redis are damaged.
        needs: What must work meanwhile.

    """

    at: float
    kind: str
    target: str
    seconds: float
    draw: int
    needs: tuple[str, ...] = ()

    @override
    def __str__(self) -> str:
        lasts = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.at:>7.1f} s  {self.kind} {self.target}{lasts}"


@dataclass(frozen=True)
class _Choice:
    """A fault that can be drawn.

    Args:
        kind: What happens.
        targets: What it can hit.
        weight: How often, relative to the others.
        lasts: Whether it lasts.
        needs: What must work meanwhile for it to be injected.

    """

    kind: str
    targets: tuple[str, ...]
    weight: float
    lasts: bool = True
    needs: tuple[str, ...] = ()


def _each(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}-{replica}" for name in names for replica in range(REPLICAS))


_LINKS = (*_each("redis", "vault", "clients"), "ims-link")
_CHOICES = (
    _Choice("cut", _LINKS, 3),
    _Choice("silence", _LINKS, 3),
    _Choice("latency", _LINKS, 3),
    _Choice("drip", _LINKS, 2),
    _Choice("tear", _LINKS, 3),
    _Choice("freeze", ("redis", "vault", "ims"), 3),
    _Choice("kill", ("redis", "vault", "ims"), 2),
    _Choice("freeze", _each("replica"), 2),
    # The first replica lives from the beginning to the end, so that its memory is seen over the whole run.
    _Choice("kill", _each("replica")[1:], 1.5),
    _Choice("terminate", _each("replica")[1:], 1.5),
    _Choice("clock", (f"clock-{STEPPED}",), 1.5),
    _Choice("flush", ("redis-data",), 1.5, lasts=False, needs=("redis",)),
    _Choice("damage", ("redis-data",), 3, lasts=False, needs=("redis",)),
    _Choice("swap", ("redis-data",), 2, lasts=False, needs=("redis",)),
    _Choice("purge", _each("purge"), 4, lasts=False),
    _Choice("reports", ("reports",), 2, lasts=False),
    _Choice("rotate", ("credential",), 2, lasts=False, needs=("vault", "ims")),
    _Choice("flip", ("credential",), 1, lasts=False, needs=("vault", "ims")),
    _Choice("deny", ("policy",), 2),
    _Choice("refuse", ("tenant",), 2, needs=("ims",)),
    _Choice("throttle", ("tenant",), 2, needs=("ims",)),
    *(_Choice(f"ims:{kind}", ("ims-answers",), 0.6, needs=("ims",)) for kind in IMS_FAULTS),
)
_REACH = list(accumulate(choice.weight for choice in _CHOICES))


def fault_plan(seed: int, seconds: float) -> list[PlannedFault]:
    """The faults of a run: storms with a calm after each. Faults of one target do not overlap."""
    draw = random.Random(seed)
    planned: list[PlannedFault] = []
    busy: dict[str, float] = {}
    start = FIRST_SECONDS
    while start < seconds - CALM_SECONDS:
        end = min(start + STORM_SECONDS, seconds - CALM_SECONDS)
        at = start
        while at < end:
            # What is drawn may not be possible now: then something else is drawn.
            drawn = (_drawn(draw, at, end, busy) for _ in range(_TRIES))
            planned += list(islice((fault for fault in drawn if fault is not None), 1))
            at += draw.expovariate(1 / MEAN_PAUSE_SECONDS)
        start = end + CALM_SECONDS
    return planned


def _drawn(draw: random.Random, at: float, end: float, busy: dict[str, float]) -> PlannedFault | None:
    [choice] = draw.choices(_CHOICES, cum_weights=_REACH)
    target = draw.choice(choice.targets)
    lasting = min(draw.uniform(0.5, LONGEST_FAULT_SECONDS), end - at)
    seed = draw.getrandbits(32)
    seconds = lasting if choice.lasts else 0.0
    if choice.kind == "deny":
        seconds += DENIED_SECONDS
    if any(busy.get(name, 0.0) > at for name in (target, *choice.needs)):
        return None
    # A process takes a while to start again, and what a fault needs must not go away under it.
    ready = at + seconds + (3.0 if choice.kind in {"kill", "terminate"} else 1.0)
    busy[target] = ready
    for name in choice.needs:
        busy[name] = max(busy.get(name, 0.0), ready)
    return PlannedFault(at, choice.kind, target, seconds, seed, choice.needs)


def weighted(draw: random.Random, names: Sequence[str]) -> str:
    """One of the names, the first ones much more often than the last ones."""
    return names[min(int(draw.expovariate(5.0 / len(names))), len(names) - 1)]


Report = Callable[[str], None]
"""Shows a line of progress."""
