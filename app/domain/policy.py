"""Who may get which token. Everything is denied by default, and every decision is made in memory."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from app.domain.claim import Claim, Requirement
from app.domain.errors import UnauthenticatedError, UnknownCallerError
from app.domain.identity import Identity, Issuer, JwtIdentity
from app.domain.names import DEFAULT_CREDENTIAL, CredentialName, CredentialRef, OrgId, Scope
from app.domain.rate_limit import RateLimit
from app.domain.refusal_reason import RefusalReason, SignedFor


class Action(StrEnum):
    """What a rule can allow."""

    VEND = "vend"
    REPORT = "report"
    PURGE = "purge"
    STATUS = "status"


TOKEN_ACTIONS = frozenset({Action.VEND, Action.REPORT})
"""Those that are answered with a token; scopes matter for no other."""

DEFAULT_ACTIONS = TOKEN_ACTIONS


@dataclass(frozen=True, slots=True)
class Rule:
    """One item of a caller's ``allow`` list.

    Args:
        orgs: The orgs that it applies to, or None for every org (``"*"``).
        credentials: The credential names that it applies to.
        scopes: The scopes that it allows, or None for all scopes of the credential.
        actions: The actions it allows.
        not_after: Unix time in seconds from which it allows nothing, or None; `policy_ends` removes it then.
        place: Its place in the file, such as ``callers[2].allow[0]``; for a person to find it.

    """

    orgs: frozenset[OrgId] | None
    credentials: frozenset[CredentialName] = frozenset({DEFAULT_CREDENTIAL})
    scopes: frozenset[Scope] | None = None
    actions: frozenset[Action] = DEFAULT_ACTIONS
    not_after: float | None = None
    place: str = field(default="", compare=False)

    @property
    def allows_something(self) -> bool:
        """Whether there is any request that it allows: not if one of its lists is empty."""
        return frozenset() not in {self.orgs, self.credentials, self.scopes, self.actions}

    def matches(self, ref: CredentialRef) -> bool:
        """Whether it applies to `ref`."""
        return (self.orgs is None or ref.org in self.orgs) and ref.name in self.credentials


@dataclass(frozen=True, slots=True)
class Permission:
    """What a caller may do with one credential: the union of the rules that match it."""

    actions: frozenset[Action]
    scopes: frozenset[Scope] | None

    def allows(self, action: Action, scopes: tuple[Scope, ...] | None) -> bool:
        """Whether it allows `action` with these scopes, or with any if they are None."""
        return action in self.actions and (self.scopes is None or self.scopes.issuperset(scopes or ()))


_RulesByOrg = Mapping[OrgId | None, tuple[Rule, ...]]
"""Rules by org; None has those for every org. So a decision takes the same time with one rule and with ten thousand."""


def _by_org(rules: Iterable[Rule]) -> _RulesByOrg:
    by_org: dict[OrgId | None, list[Rule]] = {}
    for rule in rules:
        for org in (None,) if rule.orgs is None else rule.orgs:
            by_org.setdefault(org, []).append(rule)
    return {org: tuple(found) for org, found in by_org.items()}


def _matching(by_org: _RulesByOrg, ref: CredentialRef) -> tuple[Rule, ...]:
    of_org = by_org.get(ref.org, ()) + by_org.get(None, ())
    return tuple(rule for rule in of_org if ref.name in rule.credentials)


@dataclass(frozen=True, eq=False)
class Caller:
    """An internal service with its rules; one object per caller and policy version.

    Args:
        name: Its name in the audit log and the metrics.
        rules: The rules of its ``allow`` list that are in force, in order.
        api_key_digests: SHA-256 of each of its API keys.
        subjects: (issuer, subject) pairs of JWTs that are this caller.
        rate_limit: Its own limit, or None.
        namespaces: (issuer, Kubernetes namespace) pairs: all service accounts of these namespaces are this caller.
        issuer: The issuer of its JWTs; empty if it has none.
        claims: What its JWTs must have besides; if it has neither subjects nor namespaces, this alone decides.
        api_keys_end: Unix time in seconds from which an API key is refused, by its digest; not for keys without an end.
        audit_rules: The rules with ``mode: audit``: they allow nothing; what they would allow is logged.

    """

    name: str
    rules: tuple[Rule, ...]
    api_key_digests: frozenset[bytes] = field(default=frozenset(), repr=False)
    subjects: frozenset[tuple[str, str]] = frozenset()
    rate_limit: RateLimit | None = None
    namespaces: frozenset[tuple[str, str]] = frozenset()
    issuer: str = ""
    claims: frozenset[Requirement] = frozenset()
    api_keys_end: Mapping[bytes, float] = field(default_factory=dict, repr=False)
    audit_rules: tuple[Rule, ...] = ()
    _by_org: _RulesByOrg = field(init=False, repr=False)
    _audited_by_org: _RulesByOrg = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_org", _by_org(self.rules))
        object.__setattr__(self, "_audited_by_org", _by_org(self.audit_rules))

    @property
    def ends(self) -> Iterator[float]:
        """Unix time in seconds at which a rule or an API key ends, for each that does."""
        yield from self.api_keys_end.values()
        yield from (rule.not_after for rule in (*self.rules, *self.audit_rules) if rule.not_after is not None)

    @property
    def has_credential(self) -> bool:
        """Whether any API key or JWT is this caller."""
        return bool(self.api_key_digests or self.subjects or self.namespaces or self.claims)

    def permission(self, ref: CredentialRef) -> Permission | None:
        """What this caller may do with `ref`, or None if no rule matches."""
        matching = self.rules_for(ref)
        return union(matching) if matching else None

    def rules_for(self, ref: CredentialRef) -> tuple[Rule, ...]:
        """The rules in force that match `ref`."""
        return _matching(self._by_org, ref)

    def audit_rules_for(self, ref: CredentialRef) -> tuple[Rule, ...]:
        """The rules with ``mode: audit`` that match `ref`."""
        return _matching(self._audited_by_org, ref)

    def named(self, action: Action) -> frozenset[CredentialRef]:
        """The credentials for which a rule that names the org allows `action`."""
        return frozenset(
            CredentialRef(org, name)
            for rule in self.rules
            if rule.orgs is not None and action in rule.actions
            for org in rule.orgs
            for name in rule.credentials
        )

    def everywhere(self, action: Action) -> frozenset[CredentialName]:
        """The credential names for which a rule allows `action` in every org."""
        return frozenset(
            name for rule in self.rules if rule.orgs is None and action in rule.actions for name in rule.credentials
        )


def union(rules: Iterable[Rule]) -> Permission:
    """What `rules` allow together."""
    rules = tuple(rules)
    scopes = frozenset[Scope]()
    for rule in rules:
        if rule.scopes is None:
            return Permission(frozenset().union(*(rule.actions for rule in rules)), None)
        scopes |= rule.scopes
    return Permission(frozenset().union(*(rule.actions for rule in rules)), scopes)


class CallersByJwt:
    """Finds the caller of a JWT by what matches name, so that the cost does not grow with the number of callers."""

    def __init__(self, callers: Iterable[Caller]) -> None:
        self._by_subject: dict[tuple[str, str], list[Caller]] = {}
        self._by_namespace: dict[tuple[str, str], list[Caller]] = {}
        self._by_claim: dict[tuple[str, Claim], list[Caller]] = {}
        for caller in callers:
            for subject in caller.subjects:
                self._by_subject.setdefault(subject, []).append(caller)
            for space in caller.namespaces:
                self._by_namespace.setdefault(space, []).append(caller)
            if caller.claims and not caller.subjects and not caller.namespaces:
                for claim in min(caller.claims, key=len):
                    self._by_claim.setdefault((caller.issuer, claim), []).append(caller)

    def caller(self, identity: JwtIdentity) -> Caller:
        """The one caller that the JWT fits. A subject has precedence over a namespace.

        Raises:
            UnknownCallerError: It fits no caller, or more than one.

        """
        named = _fitting(self._by_subject.get((identity.issuer, identity.subject), ()), identity)
        claimed = {
            caller
            for claim in identity.claims
            for caller in _fitting(self._by_claim.get((identity.issuer, claim), ()), identity)
        }
        if not named and identity.namespace is not None:
            named = _fitting(self._by_namespace.get((identity.issuer, identity.namespace), ()), identity)
        found = claimed | named
        if len(found) == 1:
            return found.pop()
        names = tuple(sorted(caller.name for caller in found))
        raise UnknownCallerError(SignedFor(identity.issuer, identity.subject), names)


def _fitting(callers: Iterable[Caller], identity: JwtIdentity) -> set[Caller]:
    return {caller for caller in callers if not any(identity.claims.isdisjoint(either) for either in caller.claims)}


class Policy:
    """A whole, validated policy.

    Args:
        callers: All callers; names, API keys, subjects and namespaces are unique, which the parser checks.
        issuers: All trusted issuers of JWTs.
        version: The first 12 digits of the hex SHA-256 of the file.
        notes: The places that allow nothing because something is left out or blank there; for a person to read.
        ended_api_keys: SHA-256 of API keys that callers had until their `not_after`.

    """

    def __init__(
        self,
        callers: Iterable[Caller],
        issuers: Iterable[Issuer] = (),
        version: str = "",
        notes: Iterable[str] = (),
        ended_api_keys: Iterable[bytes] = (),
    ) -> None:
        self.callers = tuple(callers)
        self.issuers = tuple(issuers)
        self.version = version
        self.notes = tuple(notes)
        # Once, by the thread that parses: the event loop asks when a policy comes into force.
        self.ends = tuple(sorted(end for caller in self.callers for end in caller.ends))
        self._ended_api_keys = frozenset(ended_api_keys)
        # Looked up by the beginning of the digest. Then the whole digest is compared in constant time.
        self._by_digest = {digest[:8]: (digest, caller) for caller in self.callers for digest in caller.api_key_digests}
        self._by_jwt = CallersByJwt(self.callers)

    def caller(self, identity: Identity) -> Caller:
        """The caller with this `identity`.

        Raises:
            UnauthenticatedError: It is an API key that no caller has, or has no more.
            UnknownCallerError: A JWT that no caller matches (docs/contract.md section 9), or more than one.

        """
        if isinstance(identity, JwtIdentity):
            return self._by_jwt.caller(identity)
        digest = identity.digest
        found = self._by_digest.get(digest[:8])
        if found is None or not hmac.compare_digest(found[0], digest):
            has_ended = digest in self._ended_api_keys
            raise UnauthenticatedError(RefusalReason.API_KEY_EXPIRED if has_ended else RefusalReason.API_KEY_UNKNOWN)
        return found[1]
