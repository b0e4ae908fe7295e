"""Faults: what goes wrong, at which paths, for which clients, how often, and for how long."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from itertools import count

MAX_FAULTS = 10_000
MAX_SECONDS = 3600.0
MAX_LASTS = 7 * 86400.0
EXCHANGE_PATHS = ("/ims/exchange", "/ims/token")
API_PATHS = ("/imp", "/console")


class FaultKind(StrEnum):
    """What goes wrong with an exchange."""

    LATENCY = "latency"  # the right answer, `seconds` late
    HANG = "hang"  # no answer until the client goes away
    STATUS = "status"  # `status`, with `retry_after` verbatim if it is given
    LOST = "lost"  # the request is carried out, but answered with `status`
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


FOR_ANY_REQUEST = REPLACES_ANSWER | {FaultKind.LATENCY, FaultKind.LOST, FaultKind.DRIP}
"""The kinds that can strike calls of Adobe's APIs, too; the others change the token of an exchange."""

_SET_BY_THE_SANDBOX = frozenset({"id", "hits", "seen", "ends_at"})


_RANGES = (
    ("seconds", 0.0, MAX_SECONDS),
    ("status", 200, 599),
    ("count", 1, 10**9),
    ("share", 0.001, 1.0),
    ("lasts", 0.001, MAX_LASTS),
)


class InvalidFaultError(ValueError):
    """A fault is malformed; the message is one sentence for a person."""


@dataclass(slots=True, kw_only=True)
class Fault:
    """A fault that was set.

    Args:
        kind: What goes wrong.
        seconds: The delay; for ``drip``, between two bytes.
        status: The status for ``status`` and ``lost``.
        retry_after: The ``Retry-After`` header, verbatim.
        error: The error in the body for ``status`` and ``lost``.
        client_id: Only for this client; None for all.
        org: Only for this org; None for all.
        path: Only requests whose path begins like this; None: exchanges.
        count: The number of requests that it will still affect; None: all until it ends.
        share: The part of these requests that it affects: 0.25 is every fourth one.
        lasts: Seconds after which it ends; None: when it is removed.
        id: Set by the sandbox.
        hits: The number of requests that it has affected.
        seen: The number of requests that it could have affected.
        ends_at: Unix time in seconds at which it ends; set by the sandbox from `lasts`.

    """

    kind: FaultKind
    seconds: float = 0.0
    status: int = 503
    retry_after: str | None = None
    error: str | None = None
    client_id: str | None = None
    org: str | None = None
    path: str | None = None
    count: int | None = None
    share: float = 1.0
    lasts: float | None = None
    id: int = 0
    hits: int = 0
    seen: int = 0
    ends_at: float | None = None

    def described(self) -> dict[str, object]:
        """All fields, for JSON."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def is_active(self, now: float) -> bool:
        """Whether it is neither used up nor over."""
        return (self.count is None or self.count > 0) and (self.ends_at is None or now < self.ends_at)

    def matches(self, client_id: str | None, org: str | None, path: str) -> bool:
        """Whether it is about a request of this client for this org, at this path."""
        at_path = path.startswith(EXCHANGE_PATHS if self.path is None else self.path)
        return at_path and self.client_id in {None, client_id} and self.org in {None, org}

    def strikes(self) -> bool:
        """Whether it affects the next request that it matches: `share` of them, evenly spread."""
        before, self.seen = self.seen, self.seen + 1
        strikes = int(self.seen * self.share + 1e-9) > int(before * self.share + 1e-9)
        if strikes:
            self.hits += 1
            if self.count is not None:
                self.count -= 1
        return strikes


class FaultBoard:
    """All faults, the oldest first.

    Args:
        clock: Unix time in seconds.

    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
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
        fault.ends_at = None if fault.lasts is None else self._clock() + fault.lasts
        self._faults[fault.id] = fault
        return fault

    def take(self, client_id: str | None, org: str | None, path: str = EXCHANGE_PATHS[0]) -> Fault | None:
        """The oldest fault that affects this request, or None; it counts as a hit."""
        now = self._clock()
        for fault in self._faults.values():
            if fault.is_active(now) and fault.matches(client_id, org, path) and fault.strikes():
                return fault
        return None

    def all(self) -> list[Fault]:
        """All faults, with those that are used up or over."""
        return list(self._faults.values())

    def described(self) -> list[dict[str, object]]:
        """All faults, each with ``active``, for JSON."""
        now = self._clock()
        return [{**fault.described(), "active": fault.is_active(now)} for fault in self._faults.values()]

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
    names = {item.name for item in fields(Fault)} - _SET_BY_THE_SANDBOX
    if not all(name in names for name in document):
        raise InvalidFaultError(f"A fault has an unknown field; the known fields are {', '.join(sorted(names))}.")
    values = {name: value for name, value in document.items() if value is not None}
    try:
        values["kind"] = FaultKind(values.get("kind", ""))
    except ValueError:
        raise InvalidFaultError(f"kind must be one of {', '.join(FaultKind)}.") from None
    for name in ("retry_after", "error", "client_id", "org", "path"):
        if name in values and not _is_header_text(values[name]):
            raise InvalidFaultError(f"{name} must be a string of printable ASCII.")
    for name, low, high in _RANGES:
        if name in values and not _within(values[name], low, high, whole=name in {"status", "count"}):
            raise InvalidFaultError(f"{name} must be a number from {low:g} to {high:g}.")
    _check_path(values["kind"], values.get("path"))
    return Fault(**values)


def _check_path(kind: FaultKind, path: str | None) -> None:
    if path is None or path.startswith(EXCHANGE_PATHS):
        return
    if kind not in FOR_ANY_REQUEST:
        kinds = ", ".join(sorted(FOR_ANY_REQUEST))
        raise InvalidFaultError(f"A fault of kind {kind} is for exchanges: leave path out, or take one of {kinds}.")
    places = EXCHANGE_PATHS + API_PATHS
    if not path or not any(place.startswith(path) or path.startswith(place) for place in places):
        raise InvalidFaultError(f"path must begin with one of {', '.join(places)}, or be /.")


def _is_header_text(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable() and len(value) <= 256


def _within(value: object, low: float, high: float, *, whole: bool) -> bool:
    number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    return number and low <= value <= high  # type: ignore[operator]  # it is a number here
