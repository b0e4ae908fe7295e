"""The lines of the audit log; `docs/audit.md` describes them, and a test compares the two."""

from __future__ import annotations

import json
import time

from app.domain.audit_chain import OPENING
from app.domain.decision import Decision
from app.domain.events import CredentialPurged, PolicyLoaded, PolicyRefused, RequestDecided

_MAX_REMEMBERED = 10_000
_SHA256_DIGITS = 16

Audited = RequestDecided | CredentialPurged | PolicyLoaded | PolicyRefused


class AuditLines:
    """Makes lines. The part of a line that is the same for all requests with the same decision is made once."""

    def __init__(self) -> None:
        # A dictionary that is cleared when full, not an LRU cache: this is looked up for every request.
        self._constant: dict[Decision, str] = {}
        self._second = -1
        self._second_text = ""

    def line(self, event: Audited) -> str:
        """One JSON object, without the newline."""
        start = self._start(event.at)
        match event:
            case RequestDecided(request_id=request_id, decision=decision, trace_id=trace_id):
                constant = self._constant.get(decision) or self._remember(decision)
                trace = "" if trace_id is None else f',"trace_id":"{trace_id}"'
                return f'{start},"event":"request","request_id":{json.dumps(request_id)}{trace},{constant}'
            case CredentialPurged(ref=ref, epoch=epoch, origin=origin):
                purge = {"event": "purge", "org": ref.org, "credential": ref.name, "epoch": epoch, "origin": origin}
                return f"{start},{_members(purge)}"
            case PolicyLoaded(version=version):
                return f"{start},{_members({'event': 'policy_loaded', 'version': version})}"
            case PolicyRefused(reason=reason):
                return f"{start},{_members({'event': 'policy_refused', 'reason': reason})}"

    def about_the_log(self, at: float, event: str, **values: object) -> str:
        """A line about the log itself, at Unix time `at`."""
        return f"{self._start(at)},{_members({'event': event, **values})}"

    def _start(self, at: float) -> str:
        return f'{OPENING}"time":"{self._time(at)}"'

    def _remember(self, decision: Decision) -> str:
        if len(self._constant) >= _MAX_REMEMBERED:
            self._constant.clear()
        token, api_key = decision.token_sha256, decision.api_key_sha256
        only_if_set = {
            "api_key_sha256": None if api_key is None else api_key[:_SHA256_DIGITS],
            "reason": decision.reason,
            "audit_rule": decision.audit_rule,
        }
        constant = self._constant[decision] = _members(
            {
                "caller": decision.caller,
                "org": decision.org,
                "credential": decision.credential,
                "scope": decision.scope,
                "generation": decision.generation,
                "token_sha256": None if token is None else token[:_SHA256_DIGITS],
                "endpoint": decision.endpoint,
                "action": decision.action,
                "outcome": decision.outcome,
                "tier": decision.tier,
                **{name: value for name, value in only_if_set.items() if value is not None},
            }
        )
        return constant

    def _time(self, at: float) -> str:
        """RFC 3339, UTC, in milliseconds."""
        second, millisecond = divmod(int(at * 1000), 1000)
        if second != self._second:
            self._second, self._second_text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{millisecond:03d}Z"


def _members(values: dict[str, object]) -> str:
    """A JSON object without its opening brace."""
    return json.dumps(values, separators=(",", ":"))[1:]
