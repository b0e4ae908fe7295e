"""The events that an operator should see, as log records."""

from __future__ import annotations

import logging
from typing import Final

from app.domain.events import (
    CacheRecordRefused,
    CredentialPurged,
    DependencyCalled,
    Event,
    ExchangeFinished,
    MintFailed,
    PolicyLoaded,
    PolicyRefused,
    PurgesUntold,
    RefreshFailed,
    TaskFailed,
)
from app.domain.names import CredentialRef, TokenKey

LOGGER: Final = "ims_token_broker"

_ITS_ANSWER = frozenset({"ok", "credential_not_found", "credential_misconfigured"})
"""Outcomes of a dependency that does its work, whatever is thought of it."""


class LogSink:
    """Logs the events that an operator should see; requests are the audit log's."""

    def __init__(self) -> None:
        self._logger = logging.getLogger(LOGGER)
        self._failing: set[str] = set()

    def emit(self, event: Event) -> None:
        """See `app.ports.EventSink.emit`."""
        level, message = self._turn(event) if isinstance(event, DependencyCalled) else _told_as(event)
        if level and self._logger.isEnabledFor(level):
            self._logger.log(level, message, extra={"event": _fields(event)})

    def _turn(self, event: DependencyCalled) -> tuple[int, str]:
        """A dependency that begins to fail, or works again, is told once; IMS fails per tenant, and is told as such."""
        name, fails = event.dependency, event.outcome not in _ITS_ANSWER
        if name == "ims" or event.outcome == "cancelled" or fails == (name in self._failing):
            return logging.DEBUG, "dependency called"
        if fails:
            self._failing.add(name)
            return logging.WARNING, "dependency fails"
        self._failing.discard(name)
        return logging.INFO, "dependency works again"


def _told_as(event: Event) -> tuple[int, str]:
    """Level and message; level 0 for what the audit log or the metrics tell better."""
    match event:
        case PolicyRefused():
            return logging.ERROR, "policy refused; the last good one stays in force"
        case PolicyLoaded():
            return logging.INFO, "policy in force"
        case TaskFailed():
            return logging.ERROR, "background task failed and is restarted"
        case PurgesUntold():
            return logging.ERROR, "purges were not told to the other replicas before the end; purge again"
        case MintFailed():
            return logging.WARNING, "no token could be minted"
        case RefreshFailed():
            return logging.WARNING, "refresh failed; the token that is still good goes on being served"
        case CacheRecordRefused():
            return logging.WARNING, "record in the shared cache refused"
        case CredentialPurged():
            return logging.INFO, "credential purged"
        case ExchangeFinished(outcome=outcome):
            return logging.DEBUG if outcome == "issued" else logging.WARNING, "exchange finished"
        case _:
            return 0, ""


def _fields(event: Event) -> dict[str, object]:
    """An event's fields, with a key or a reference told as org and credential."""
    told: dict[str, object] = {}
    for name in event.__slots__:
        value = getattr(event, name)
        ref = value.ref if isinstance(value, TokenKey) else value
        if isinstance(ref, CredentialRef):
            told.update(org=ref.org, credential=ref.name)
        else:
            told[name] = value
    return told
