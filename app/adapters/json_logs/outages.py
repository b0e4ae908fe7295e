"""Which failures of external systems are in the log already: each is reported once when it begins, and its end once."""

from __future__ import annotations

from enum import Enum, auto

from app.domain.dependency import Dependency, concerns_one_operation
from app.domain.events import DependencyCalled

_Failure = tuple[Dependency, str]
"""The system, and the reason of the failure, or its outcome if no reason is given. Both are constants of the code."""


class OutageChange(Enum):
    """What a call says about its system that the log does not say yet."""

    BEGAN = auto()
    ENDED = auto()
    NONE = auto()


class Outages:
    """Remembers the failures that were reported, with the operations that failed for each.

    A system that refuses one operation may do all others. So such a failure ends when one of its operations succeeds;
    any other failure ends at the first success.
    """

    def __init__(self) -> None:
        self._reported: dict[_Failure, set[str]] = {}

    def change(self, event: DependencyCalled) -> OutageChange:
        """What is new about the system; IMS fails per tenant, so never as a whole."""
        # A skipped call says nothing new: the breaker is open because of the calls before it.
        if event.dependency == "ims" or event.works is None or event.outcome == "skipped":
            return OutageChange.NONE
        return self._ended(event) if event.works else self._began(event)

    def _began(self, event: DependencyCalled) -> OutageChange:
        failure = event.dependency, event.reason or event.outcome
        known = failure in self._reported
        operations = self._reported.setdefault(failure, set())
        if concerns_one_operation(event.outcome):
            operations.add(event.operation)
        return OutageChange.NONE if known else OutageChange.BEGAN

    def _ended(self, event: DependencyCalled) -> OutageChange:
        if not self._reported:  # as for nearly all calls
            return OutageChange.NONE
        ours = {failure: operations for failure, operations in self._reported.items() if failure[0] == event.dependency}
        ended = [failure for failure, operations in ours.items() if not operations or event.operation in operations]
        for failure in ended:
            del self._reported[failure]
        return OutageChange.ENDED if ended else OutageChange.NONE
