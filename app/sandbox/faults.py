"""Faults: what goes wrong, for which clients, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from itertools import count

MAX_FAULTS = 10_000
MAX_SECONDS = 3600.0


class FaultKind(StrEnum):
    """What goes wrong with an exchange."""

    LATENCY = "latency"  # the right answer, `seconds` late
    HANG = "hang"  # no answer until the client goes away
    STATUS = "status"  # `status`, with `retry_after` verbatim if it is given
    GARBAGE = "garbage"  # 200 with bytes that are not JSON
    HTML = "html"  # 200 with a web page
    EMPTY = "empty"  # 200 without a body
    DRIP = "drip"  # the right answer, one byte every `seconds`
    WRONG_UNIT = "wrong_unit"  # seconds instead of milliseconds, and vice versa
    NEGATIVE_EXPIRES_IN = "negative_expires_in"
    ZERO_EXPIRES_IN = "zero_expires_in"
    ABSENT_EXPIRES_IN = "absent_expires_in"
    ABSURD_EXPIRES_IN = "absurd_expires_in"
    EXPIRED_TOKEN = "expired_token"  # a token that has expired by its own claims
    OTHER_CLIENT = "other_client"  # a token of another client
    OTHER_ORG = "other_org"  # a token of another org


REPLACES_ANSWER = frozenset({FaultKind.HANG, FaultKind.STATUS, FaultKind.GARBAGE, FaultKind.HTML, FaultKind.EMPTY})
"""The kinds that replace the answer before the credential is checked."""


class InvalidFaultError(ValueError):
    """A fault is malformed; the message is one sentence for a person."""


@dataclass(slots=True, kw_only=True)
class Fault:
    """A fault that was set.

    Args:
        kind: What goes wrong.
        seconds: The delay; for ``drip``, between two bytes.
        status: The status for ``status``.
        retry_after: The ``Retry-After`` header, verbatim.
        error: The ``error`` of the body for ``status``.
        client_id: Only for this client; None for all.
        org: Only for this org; None for all.
        count: The number of exchanges that it will still affect; None: all until it is removed.
        id: Set by the sandbox.
        hits: The number of exchanges that it has affected.

    """

    kind: FaultKind
    seconds: float = 0.0
    status: int = 503
    retry_after: str | None = None
    error: str | None = None
    client_id: str | None = None
    org: str | None = None
    count: int | None = None
    id: int = 0
    hits: int = 0

    def described(self) -> dict[str, object]:
        """All fields, for JSON."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def matches(self, client_id: str | None, org: str | None) -> bool:
        """Whether it affects an exchange of this client for this org."""
        return (
            (self.count is None or self.count > 0) and self.client_id in {None, client_id} and self.org in {None, org}
        )


class FaultBoard:
    """All faults, the oldest first."""

    def __init__(self) -> None:
        self._faults: dict[int, Fault] = {}
        self._ids = count(1)

    def add(self, fault: Fault) -> Fault:
        """Add a fault.

        Raises:
            InvalidFaultError: There are too many.

        """
        if len(self._faults) >= MAX_FAULTS:
            raise InvalidFaultError(f"There are already {MAX_FAULTS} faults.")
        fault.id = next(self._ids)
        self._faults[fault.id] = fault
        return fault

    def take(self, client_id: str | None, org: str | None) -> Fault | None:
        """The oldest fault that affects this exchange, or None; it counts as a hit."""
        for fault in self._faults.values():
            if fault.matches(client_id, org):
                fault.hits += 1
                if fault.count is not None:
                    fault.count -= 1
                return fault
        return None

    def all(self) -> list[Fault]:
        """All faults, with those that are used up."""
        return list(self._faults.values())

    def clear(self, fault_id: int | None = None) -> bool:
        """Remove one fault, or all faults; False if there was none with this id."""
        if fault_id is None:
            self._faults.clear()
            return True
        return self._faults.pop(fault_id, None) is not None


def fault_from(document: object) -> Fault:
    """Read a fault from decoded JSON.

    Raises:
        InvalidFaultError: A field is unknown, missing, or out of range.

    """
    if not isinstance(document, Mapping):
        raise InvalidFaultError("A fault must be a JSON object.")
    names = {item.name for item in fields(Fault)} - {"id", "hits"}
    if not all(name in names for name in document):
        raise InvalidFaultError(f"A fault has an unknown field; the known fields are {', '.join(sorted(names))}.")
    values = {name: value for name, value in document.items() if value is not None}
    try:
        values["kind"] = FaultKind(values.get("kind", ""))
    except ValueError:
        raise InvalidFaultError(f"kind must be one of {', '.join(FaultKind)}.") from None
    for name in ("retry_after", "error", "client_id", "org"):
        if name in values and not _is_header_text(values[name]):
            raise InvalidFaultError(f"{name} must be a string of printable ASCII.")
    for name, low, high in (("seconds", 0.0, MAX_SECONDS), ("status", 200, 599), ("count", 1, 10**9)):
        if name in values and not _within(values[name], low, high, whole=name != "seconds"):
            raise InvalidFaultError(f"{name} must be a number from {low:g} to {high:g}.")
    return Fault(**values)


def _is_header_text(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable() and len(value) <= 256


def _within(value: object, low: float, high: float, *, whole: bool) -> bool:
    number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    return number and low <= value <= high  # type: ignore[operator]  # it is a number here
