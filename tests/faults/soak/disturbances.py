"""When something was disturbed, by the records of faults alone."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence

from tests.faults.soak.records import Disturbed

STOPS = frozenset({"freeze", "kill", "terminate"})
"""The kinds of faults during which a process does nothing."""

ENDS = frozenset({"kill", "terminate"})
"""Those after which it is another process."""

LOSES = frozenset({"kill", "flush"})
"""Those after which Redis is empty."""


class Disturbances:
    """The faults of a run, to be asked for intervals.

    Args:
        faults: All of them.

    """

    def __init__(self, faults: Iterable[Disturbed]) -> None:
        self._by_target: dict[str, list[Disturbed]] = defaultdict(list)
        for fault in sorted(faults, key=lambda fault: fault.began):
            self._by_target[fault.target].append(fault)
        self._began = {name: [fault.began for fault in found] for name, found in self._by_target.items()}
        self._all = tuple(self._by_target)

    def between(self, began: float, ended: float, targets: Iterable[str] | None = None) -> list[Disturbed]:
        """The faults of these targets (default: of all) that overlap an interval."""
        return [
            fault
            for target in (self._all if targets is None else targets)
            for fault in self._earlier(target, ended)
            if fault.ended >= began
        ]

    def is_quiet(self, began: float, ended: float, targets: Iterable[str] | None = None) -> bool:
        """Whether no fault overlaps an interval."""
        return not self.between(began, ended, targets)

    def last_loss(self, until: float) -> float:
        """When Redis was last empty, or a replica last another process; 0 if never."""
        return max(
            (
                fault.ended
                for target in self._all
                for fault in self._earlier(target, until)
                if (fault.kind in ENDS and target.startswith("replica-"))
                or (fault.kind in LOSES and target.startswith("redis"))
            ),
            default=0.0,
        )

    def longest_quiet(self, began: float, ended: float, targets: Iterable[str]) -> float:
        """The longest time without a fault of these targets within an interval, in seconds."""
        longest, free = 0.0, began
        for fault in sorted(self.between(began, ended, targets), key=lambda fault: fault.began):
            longest, free = max(longest, fault.began - free), max(free, fault.ended)
        return max(longest, ended - free)

    def running_seconds(self, replica: int, began: float, ended: float) -> float:
        """How many seconds of an interval a replica could run."""
        stopped = sum(
            max(0.0, min(fault.ended, ended) - max(fault.began, began))
            for fault in self._earlier(f"replica-{replica}", ended)
            if fault.kind in STOPS
        )
        return ended - began - stopped

    def is_same_process(self, replica: int, began: float, ended: float) -> bool:
        """Whether a replica was not restarted in an interval."""
        found = self.between(began, ended, (f"replica-{replica}",))
        return not any(fault.kind in ENDS for fault in found)

    def _earlier(self, target: str, until: float) -> Sequence[Disturbed]:
        return self._by_target[target][: bisect_right(self._began[target], until)] if target in self._began else ()
