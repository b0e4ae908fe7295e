"""The report of ``incident contain``: what was done, what is left to do, and what cannot be undone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.cli.org_options import arguments_of, name_of
from app.cli.printable import printable
from app.domain.rfc3339 import rfc3339

if TYPE_CHECKING:
    from app.audit.trace import Trace
    from app.cli.incident_rotation import SecretReplacement
    from app.cli.regions import Purged
    from app.domain.leaked_token import LeakedToken
    from app.domain.names import CredentialRef


@dataclass(frozen=True, slots=True)
class Containment:
    """What was done about a leaked token.

    Args:
        token: The token, without its value.
        found: Who received it; None if no audit log was given.
        purges: The result of each broker, by credential.
        replaced: What became of the secret or key of each credential; empty if that was not asked for.
        now: Unix time in seconds.

    """

    token: LeakedToken
    found: Trace | None
    purges: Mapping[CredentialRef, tuple[Purged, ...]]
    now: float
    replaced: Mapping[CredentialRef, SecretReplacement] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether all brokers purged, the receivers are known, and all secrets that were to be replaced are."""
        purged = all(result.error is None for results in self.purges.values() for result in results)
        rotated = all(result.status == "rotated" for result in self.replaced.values())
        return purged and rotated and self.found is not None and bool(self.found.receivers)


def lines_of_report(done: Containment) -> Iterator[str]:
    """The report as lines of text. No token and no secret is in it."""
    yield f"Token {done.token.sha256[:16]}…, client {printable(done.token.client_id) or 'unknown'}"
    yield ""
    yield "Who received it"
    yield from _receivers(done)
    yield ""
    yield "Purged"
    for ref, results in done.purges.items():
        for result in results:
            said = "done" if result.error is None else f"NOT DONE: {result.error}"
            yield f"  {name_of(ref)} at {result.url}: {said}"
    yield ""
    if done.replaced:
        yield "Secret or key"
        for ref, replacement in done.replaced.items():
            yield f"  {name_of(ref)}: {_said(replacement)}"
        yield ""
    yield "What you must do now"
    for number, step in enumerate(_steps(done), start=1):
        yield f"  {number}. {step}"
    yield ""
    yield "What cannot be undone"
    yield f"  {_remaining(done)}"


def _said(replacement: SecretReplacement) -> str:
    if replacement.status == "rotated":
        return "the secret is replaced, and the old one is deleted at Adobe"
    return f"NOT REPLACED: {replacement.reason}"


def _receivers(done: Containment) -> Iterator[str]:
    if done.found is None:
        yield "  unknown: no audit log was given"
        return
    for receiver in done.found.receivers:
        several = f" to {printable(receiver.last)}, {receiver.count} times" if receiver.count > 1 else ""
        yield f"  {printable(receiver.caller)} at {printable(receiver.endpoint)}: {printable(receiver.first)}{several}"
    if not done.found.receivers:
        yield f"  no one in {done.found.lines} audit lines; look in older logs"


def _steps(done: Containment) -> Iterator[str]:
    failed = [result.url for results in done.purges.values() for result in results if result.error is not None]
    if failed:
        yield f"Run this command again until {' and '.join(failed)} did it: they still hand the token out."
    for ref in done.purges:
        if ref in done.replaced:
            for command in done.replaced[ref].commands:
                yield f"Replace the secret or key of {name_of(ref)}: {command}"
        else:
            yield (
                f"If the secret or key may have leaked too: ims-token-broker secret rotate {arguments_of(ref)} --now"
                f" (a JWT credential: ims-token-broker cert rotate {arguments_of(ref)})."
            )
    yield "Ask Adobe's support to invalidate the token; say its client id and org."
    yield "Take the API key of the caller that leaked it out of the policy, if you know which one it was."


def _remaining(done: Containment) -> str:
    end = done.token.expires_at
    if end is None:
        return "Adobe accepts this token until its end, which it does not say. Most tokens live 24 hours."
    if end <= done.now:
        return f"Nothing: the token ended at {rfc3339(end)}."
    hours = (end - done.now) / 3600
    return (
        f"Adobe accepts this token until {rfc3339(end)}, for another {hours:.1f} hours: neither a purge nor a"
        " new secret ends it."
    )
