"""Compares how two policies recognise callers, and what else of a caller or issuer changes, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

from app.domain.claim import Requirement
from app.domain.identity import Issuer
from app.domain.policy import Caller, Policy
from app.domain.rate_limit import LimitScope, RateLimit
from app.domain.rfc3339 import rfc3339

_PERIODS = {1.0: "s", 60.0: "m", 3600.0: "h"}


@dataclass(frozen=True, slots=True)
class OtherChange:
    """A change that is not of a right.

    Args:
        subject: The caller's name, or the issuer.
        direction: ``gains``, ``loses`` or ``changes``; ``is`` if it is added or removed.
        what: What changes, in words.

    """

    subject: str
    direction: Literal["gains", "loses", "changes", "is"]
    what: str


def other_changes(old: Policy, new: Policy, now: float) -> Iterator[OtherChange]:
    """Callers and issuers that are added or removed, and changes of credentials, limits and audit rules.

    Args:
        old: The policy before, as it is in the file.
        new: The policy after, as it is in the file.
        now: Unix time in seconds. An API key that has ended does not count.

    """
    issuers = [{issuer.issuer: issuer for issuer in policy.issuers} for policy in (old, new)]
    for name in dict.fromkeys([*issuers[0], *issuers[1]]):
        yield from _issuer_changes(f"issuer {name}", issuers[0].get(name), issuers[1].get(name))
    callers = [{caller.name: caller for caller in policy.callers} for policy in (old, new)]
    for name in dict.fromkeys([*callers[0], *callers[1]]):
        yield from _caller_changes(name, callers[0].get(name), callers[1].get(name), now)


def _issuer_changes(subject: str, old: Issuer | None, new: Issuer | None) -> Iterator[OtherChange]:
    if old is None or new is None:
        yield OtherChange(subject, "is", "added" if old is None else "removed")
        return
    for field in fields(Issuer):
        # The names of the claims follow from the callers, whose changes are listed.
        if field.name != "claims" and getattr(old, field.name) != getattr(new, field.name):
            yield OtherChange(subject, "changes", field.name.replace("audiences", "audience"))


def _caller_changes(subject: str, old: Caller | None, new: Caller | None, now: float) -> Iterator[OtherChange]:
    if old is None or new is None:
        yield OtherChange(subject, "is", "added" if old is None else "removed")
        return
    before, after = set(_credentials(old, now)), set(_credentials(new, now))
    yield from (OtherChange(subject, "loses", what) for what in sorted(before - after))
    yield from (OtherChange(subject, "gains", what) for what in sorted(after - before))
    if old.rate_limit != new.rate_limit:
        what = f"its rate limit from {_limit(old.rate_limit)} to {_limit(new.rate_limit)}"
        yield OtherChange(subject, "changes", what)
    if set(old.audit_rules) != set(new.audit_rules):
        yield OtherChange(subject, "changes", "its rules with mode audit")


def _credentials(caller: Caller, now: float) -> Iterator[str]:
    """What is this caller, in words."""
    for digest in caller.api_key_digests:
        end = caller.api_keys_end.get(digest)
        if end is not None and end <= now:
            continue
        until = "" if end is None else f", until {rfc3339(end)}"
        yield f"the API key with the SHA-256 {digest.hex()[:16]}…{until}"
    with_claims = "".join(f", with {_requirement(either)}" for either in sorted(caller.claims, key=sorted))
    for issuer, subject in caller.subjects:
        yield f"JWTs of {issuer} for the subject {subject}{with_claims}"
    for issuer, namespace in caller.namespaces:
        yield f"JWTs of {issuer} for the namespace {namespace}{with_claims}"
    if caller.claims and not caller.subjects and not caller.namespaces:
        yield f"JWTs of {caller.issuer}{with_claims}"


def _requirement(either: Requirement) -> str:
    name = next((name for name, _, _ in either), "")
    return f"{name} {' or '.join(sorted(str(value) for _, _, value in either))}"


def _limit(limit: RateLimit | None) -> str:
    if limit is None:
        return "none"
    whose = " for the fleet" if limit.scope is LimitScope.FLEET else ""
    return f"{limit.requests}/{_PERIODS[limit.seconds]}{whose}"
