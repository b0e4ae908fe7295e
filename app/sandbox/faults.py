"""Fault orders: what shall go wrong, for whom, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from itertools import count

MAX_ORDERS = 10_000
MAX_SECONDS = 3600.0


class FaultKind(StrEnum):
    """What goes wrong with an exchange."""

    LATENCY = "latency"  # the right answer, `seconds` late
    HANG = "hang"  # no answer until the client goes away
    STATUS = "status"  # `status`, with `retry_after` verbatim where given
    GARBAGE = "garbage"  # 200 with bytes that are no JSON
    HTML = "html"  # 200 with a page
    EMPTY = "empty"  # 200 without a body
    DRIP = "drip"  # the right answer, one byte every `seconds`
    WRONG_UNIT = "wrong_unit"  # seconds where milliseconds are due, and the other way round
    NEGATIVE_EXPIRES_IN = "negative_expires_in"
    ZERO_EXPIRES_IN = "zero_expires_in"
    ABSENT_EXPIRES_IN = "absent_expires_in"
    ABSURD_EXPIRES_IN = "absurd_expires_in"
    EXPIRED_TOKEN = "expired_token"  # a token whose own claims say that it is over
    OTHER_CLIENT = "other_client"  # a token of another client
    OTHER_ORG = "other_org"  # a token of another org


REPLACES_ANSWER = frozenset({FaultKind.HANG, FaultKind.STATUS, FaultKind.GARBAGE, FaultKind.HTML, FaultKind.EMPTY})
"""With these the credential is not even looked at."""


class FaultOrderError(ValueError):
    """An order cannot be understood; the text is one sentence for a person."""


@dataclass(slots=True, kw_only=True)
class Fault:
    """An order.

    Args:
        kind: What goes wrong.
        seconds: Delay; between bytes for ``drip``.
        status: The status for ``status``.
        retry_after: The ``Retry-After`` header, verbatim.
        error: The ``error`` of the body for ``status``.
        client_id: Only for this client; None for all.
        org: Only for this org; None for all.
        count: How many exchanges it still strikes; None until it is cleared.
        id: Given by the sandbox.
        hits: How many exchanges it struck.

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
        """Whether it strikes an exchange of this client for this org."""
        return (
            (self.count is None or self.count > 0) and self.client_id in {None, client_id} and self.org in {None, org}
        )


class FaultBoard:
    """All orders, the oldest first."""

    def __init__(self) -> None:
        self._orders: dict[int, Fault] = {}
        self._ids = count(1)

    def add(self, fault: Fault) -> Fault:
        """Put up an order.

        Raises:
            FaultOrderError: Too many are up already.

        """
        if len(self._orders) >= MAX_ORDERS:
            raise FaultOrderError(f"There are {MAX_ORDERS} orders already.")
        fault.id = next(self._ids)
        self._orders[fault.id] = fault
        return fault

    def take(self, client_id: str | None, org: str | None) -> Fault | None:
        """The oldest order that strikes this exchange; it counts as used."""
        for fault in self._orders.values():
            if fault.matches(client_id, org):
                fault.hits += 1
                if fault.count is not None:
                    fault.count -= 1
                return fault
        return None

    def all(self) -> list[Fault]:
        """All orders, used up or not."""
        return list(self._orders.values())

    def clear(self, fault_id: int | None = None) -> bool:
        """Take down one order, or all; False where there was none of that id."""
        if fault_id is None:
            self._orders.clear()
            return True
        return self._orders.pop(fault_id, None) is not None


def fault_from(document: object) -> Fault:
    """Read an order from decoded JSON.

    Raises:
        FaultOrderError: A field is unknown, missing, or out of its range.

    """
    if not isinstance(document, Mapping):
        raise FaultOrderError("An order must be a JSON object.")
    names = {item.name for item in fields(Fault)} - {"id", "hits"}
    if not all(name in names for name in document):
        raise FaultOrderError(f"An order has an unknown field; known are {', '.join(sorted(names))}.")
    values = {name: value for name, value in document.items() if value is not None}
    try:
        values["kind"] = FaultKind(values.get("kind", ""))
    except ValueError:
        raise FaultOrderError(f"kind must be one of {', '.join(FaultKind)}.") from None
    for name in ("retry_after", "error", "client_id", "org"):
        if name in values and not _is_header_text(values[name]):
            raise FaultOrderError(f"{name} must be a string of printable ASCII.")
    for name, low, high in (("seconds", 0.0, MAX_SECONDS), ("status", 200, 599), ("count", 1, 10**9)):
        if name in values and not _within(values[name], low, high, whole=name != "seconds"):
            raise FaultOrderError(f"{name} must be a number from {low:g} to {high:g}.")
    return Fault(**values)


def _is_header_text(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable() and len(value) <= 256


def _within(value: object, low: float, high: float, *, whole: bool) -> bool:
    number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    return number and low <= value <= high  # type: ignore[operator]  # it is a number here
