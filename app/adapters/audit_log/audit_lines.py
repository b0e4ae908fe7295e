"""The lines of the audit log; `docs/audit.md` describes them, and a test compares the two."""

from __future__ import annotations

import json
import time
from json.encoder import encode_basestring_ascii

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
        self._parts: dict[tuple[str | None, ...], tuple[str, str, str]] = {}
        self._millisecond = -1
        self._opening = ""
        self._request_id, self._request_id_json = "", '""'

    def line(self, event: Audited) -> str:
        """One JSON object, without the newline."""
        start = self._start(event.at)
        if isinstance(event, RequestDecided):  # First, and without a `match`, because nearly all events are requests.
            constant = self._constant.get(event.decision) or self._remember(event.decision)
            trace = "" if event.trace_id is None else f',"trace_id":"{event.trace_id}"'
            if event.request_id is not self._request_id:  # The items of a batch, in a row, have the same.
                self._request_id, self._request_id_json = event.request_id, encode_basestring_ascii(event.request_id)
            return f'{start},"event":"request","request_id":{self._request_id_json}{trace},{constant}'
        return f"{start},{_members(_rare(event))}"

    def about_the_log(self, at: float, event: str, **values: object) -> str:
        """A line about the log itself, at Unix time `at`."""
        return f"{self._start(at)},{_members({'event': event, **values})}"

    def _start(self, at: float) -> str:
        """The members of every line. Under load many lines in a row are of the same millisecond."""
        millisecond = int(at * 1000)
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            self._opening = f'{OPENING}"time":"{_time(millisecond)}"'
        return self._opening

    def _remember(self, decision: Decision) -> str:
        token = decision.token_sha256
        before, between, after = self._around(decision)
        org_json = "null" if decision.org is None else encode_basestring_ascii(decision.org)
        token_json = "null" if token is None else f'"{token[:_SHA256_DIGITS]}"'
        constant = f"{before}{org_json}{between}{token_json}{after}"
        if decision.is_shared:
            if len(self._constant) >= _MAX_REMEMBERED:
                self._constant.clear()
            self._constant[decision] = constant
        return constant

    def _around(self, decision: Decision) -> tuple[str, str, str]:
        """The members before, between and after org and token: most decisions on many orgs have the same."""
        key = (
            decision.caller,
            decision.credential,
            decision.scope,
            decision.generation,
            decision.endpoint,
            decision.action,
            decision.outcome,
            decision.tier,
            decision.api_key_sha256,
            decision.reason,
            decision.audit_rule,
        )
        return self._parts.get(key) or self._remember_parts(key, decision)

    def _remember_parts(self, key: tuple[str | None, ...], decision: Decision) -> tuple[str, str, str]:
        if len(self._parts) >= _MAX_REMEMBERED:
            self._parts.clear()
        api_key = decision.api_key_sha256
        only_if_set = {
            "api_key_sha256": None if api_key is None else api_key[:_SHA256_DIGITS],
            "reason": decision.reason,
            "audit_rule": decision.audit_rule,
        }
        between: dict[str, object] = {
            "credential": decision.credential,
            "scope": decision.scope,
            "generation": decision.generation,
        }
        after: dict[str, object] = {
            "endpoint": decision.endpoint,
            "action": decision.action,
            "outcome": decision.outcome,
            "tier": decision.tier,
            **{name: value for name, value in only_if_set.items() if value is not None},
        }
        parts = self._parts[key] = (
            f'"caller":{json.dumps(decision.caller)},"org":',
            f',{_members(between)[:-1]},"token_sha256":',
            f",{_members(after)}",
        )
        return parts


def _rare(event: CredentialPurged | PolicyLoaded | PolicyRefused) -> dict[str, object]:
    match event:
        case CredentialPurged(ref=ref, epoch=epoch, origin=origin):
            return {"event": "purge", "org": ref.org, "credential": ref.name, "epoch": epoch, "origin": origin}
        case PolicyLoaded(version=version):
            return {"event": "policy_loaded", "version": version}
        case PolicyRefused(reason=reason):
            return {"event": "policy_refused", "reason": reason}


def _time(milliseconds: int) -> str:
    """RFC 3339, UTC, in milliseconds."""
    second, millisecond = divmod(milliseconds, 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{millisecond:03d}Z"


def _members(values: dict[str, object]) -> str:
    """A JSON object without its opening brace."""
    return json.dumps(values, separators=(",", ":"))[1:]
