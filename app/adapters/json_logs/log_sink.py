"""The events that an operator should see, as log records."""

from __future__ import annotations

import logging
from typing import Final

from app.adapters.json_logs.outages import OutageChange, Outages
from app.adapters.json_logs.refusal_quota import RefusalQuota
from app.domain.events import (
    CacheRecordRefused,
    CallerRefused,
    CredentialPurged,
    DependencyCalled,
    DependencyChecked,
    Event,
    ExchangeFinished,
    KeyRingLoaded,
    KeyRingRefused,
    MintFailed,
    PolicyLoaded,
    PolicyRefused,
    PurgesUnpublished,
    RefreshFailed,
    ServerCertificateLoaded,
    ServerCertificateRefused,
    TaskFailed,
)
from app.domain.names import CredentialRef, TokenKey

LOGGER: Final = "ims_token_broker"


_LOGGED: Final[dict[type[Event], tuple[int, str]]] = {
    PolicyRefused: (logging.ERROR, "policy refused; the last good one stays in force"),
    PolicyLoaded: (logging.INFO, "policy in force"),
    KeyRingRefused: (logging.ERROR, "changed key ring refused; the last good one stays in force"),
    KeyRingLoaded: (logging.INFO, "key ring in force"),
    ServerCertificateRefused: (logging.ERROR, "renewed certificate refused; the last good one stays in force"),
    ServerCertificateLoaded: (logging.INFO, "certificate in force"),
    TaskFailed: (logging.ERROR, "background task failed and is restarted"),
    PurgesUnpublished: (logging.ERROR, "purges were not published to the other replicas before shutdown; purge again"),
    MintFailed: (logging.WARNING, "no token could be minted"),
    RefreshFailed: (logging.WARNING, "refresh failed; the current token is still valid and is served"),
    CacheRecordRefused: (logging.WARNING, "record in the shared cache refused"),
    CredentialPurged: (logging.INFO, "credential purged"),
}
"""Level and message of each event that is logged when it happens."""

_CALLS: Final = {
    OutageChange.BEGAN: (logging.WARNING, "dependency fails"),
    OutageChange.ENDED: (logging.INFO, "dependency works again"),
    OutageChange.NONE: (logging.DEBUG, "dependency called"),
}
"""The same, of a call to an external system."""

_CHECKS: Final = {
    True: (logging.INFO, "dependency ready"),
    False: (logging.WARNING, "dependency not ready; the broker runs without it, and uses it as soon as it works"),
}
"""The same, of the check when the process starts."""


class LogSink:
    """Logs the events that an operator should see; requests are the audit log's."""

    def __init__(self) -> None:
        self._logger = logging.getLogger(LOGGER)
        self._outages = Outages()
        self._refusals = RefusalQuota()

    def emit(self, event: Event) -> None:
        """See `app.ports.EventSink.emit`."""
        if isinstance(event, CallerRefused):
            self._refused(event)
            return
        fields_of = _fields
        if isinstance(event, DependencyCalled):
            level, message = _CALLS[self._outages.change(event)]
            fields_of = _given
        elif isinstance(event, DependencyChecked):
            level, message = _CHECKS[event.ready]
            fields_of = _given
        else:
            level, message = _logged_as(event)
        if level and self._logger.isEnabledFor(level):
            self._logger.log(level, message, extra={"event": fields_of(event)})

    def _refused(self, event: CallerRefused) -> None:
        """Anyone can cause a refusal, so only some are logged; the metric counts them all."""
        left_out = self._refusals.take(event)
        if left_out is None or not self._logger.isEnabledFor(logging.WARNING):
            return
        self._logger.warning("caller credential refused", extra={"event": {**_given(event), "left_out": left_out}})


def _logged_as(event: Event) -> tuple[int, str]:
    """Level and message; level 0 for events that belong to the audit log or the metrics alone."""
    if isinstance(event, ExchangeFinished):
        return logging.DEBUG if event.outcome == "issued" else logging.WARNING, "exchange finished"
    return _LOGGED.get(type(event), (0, ""))


def _fields(event: Event) -> dict[str, object]:
    """An event's fields, with a key or a reference as org and credential."""
    fields: dict[str, object] = {}
    for name in event.__slots__:
        value = getattr(event, name)
        ref = value.ref if isinstance(value, TokenKey) else value
        if isinstance(ref, CredentialRef):
            fields.update(org=ref.org, credential=ref.name)
        else:
            fields[name] = value
    return fields


def _given(event: Event) -> dict[str, object]:
    """An event's fields without those that are None."""
    return {name: value for name, value in _fields(event).items() if value is not None}
