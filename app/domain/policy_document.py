"""Parses a decoded policy file to a `Policy`. The format is that of docs/contract.md section 4, and nothing else.

A part that is left out or blank allows nothing. It is valid, because an operator who removes the last rule, key or org
takes a right away, and a refused file would leave that right in force. Only `credentials`, `scopes` and `actions` have
defaults: these hold if they are left out, not if they are blank. `Policy.notes` lists such places.

An error names the place and what was expected there, never the value found, which may be the hash of a key, or a key
that someone pasted into the wrong line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from app.domain.errors import InvalidRequestError
from app.domain.issuer_document import parse_issuers
from app.domain.match_document import JwtMatches
from app.domain.names import (
    DEFAULT_CREDENTIAL,
    CredentialName,
    OrgId,
    Scope,
    parse_credential_name,
    parse_org,
    scopes_of,
)
from app.domain.plain_document import Fields, PolicyError, fields_of, is_blank, items_of
from app.domain.policy import DEFAULT_ACTIONS, Action, Caller, Policy, Rule
from app.domain.rate_limit import LimitScope, RateLimit
from app.domain.rfc3339 import parse_rfc3339

_TOP = frozenset({"version", "issuers", "callers"})
_CALLER = frozenset({"name", "match", "rate_limit", "allow"})
_MATCH = frozenset({"api_key_sha256", "issuer", "subject", "namespace", "claims"})
_RULE = frozenset({"orgs", "credentials", "scopes", "actions", "not_after", "mode"})
_API_KEY = frozenset({"sha256", "not_after"})
_RATE_LIMIT = frozenset({"limit", "scope"})

CALLER_NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
"""The form of a caller's name. The schema of the policy publishes the forms, too."""

API_KEY_SHA256 = "[0-9a-f]{64}"
RATE = "([1-9][0-9]{0,5}|1000000)/([smh])"
MODES = ("enforce", "audit")

_NAME, _SHA256, _RATE = re.compile(CALLER_NAME), re.compile(API_KEY_SHA256), re.compile(RATE)
_PERIODS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_EVERY = "*"
_ENFORCE, _AUDIT = MODES
_ONLY_DEFAULT = frozenset({DEFAULT_CREDENTIAL})


def parse_policy(document: object, version: str) -> Policy:
    """Parse a whole policy.

    Args:
        document: The decoded file: plain dicts, lists, strings and integers.
        version: The name of this version, such as the beginning of the file's SHA-256.

    Raises:
        PolicyError: Something is missing, unknown, malformed or repeated; the file is refused as a whole.

    """
    if is_blank(document):
        raise PolicyError("policy", "must not be empty; to allow nothing to anyone, write callers: []")
    top = fields_of(document, "policy", _TOP, required=("version",))
    if type(top["version"]) is not int or top["version"] != 1:
        raise PolicyError("version", "must be 1")
    issuers = parse_issuers(top.get("issuers"))
    matches = JwtMatches(issuers)
    callers = _Callers(matches)
    parsed = callers.parse(top.get("callers"))
    # A verified identity keeps only the claims that a caller of its issuer compares.
    issuers = tuple(replace(issuer, claims=matches.compared(issuer.issuer)) for issuer in issuers)
    return Policy(parsed, issuers, version, callers.notes)


class _Callers:
    """Parses callers, and refuses names, API keys and identities that an earlier caller has.

    Args:
        matches: Parses what callers say of JWTs.

    """

    def __init__(self, matches: JwtMatches) -> None:
        self.notes: list[str] = []
        self._matches = matches
        self._names: set[str] = set()
        self._digests: set[bytes] = set()

    def parse(self, value: object) -> tuple[Caller, ...]:
        return tuple(self._caller(item, place) for place, item in items_of(value, "callers"))

    def _caller(self, value: object, place: str) -> Caller:
        fields = fields_of(value, place, _CALLER, required=("name",))
        name = fields["name"]
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise PolicyError(f"{place}.name", "must be 1 to 63 letters, digits, dots, hyphens or underscores")
        if name in self._names:
            raise PolicyError(f"{place}.name", "must not be the name of an earlier caller")
        self._names.add(name)
        given = fields.get("match")
        match = {} if is_blank(given) else fields_of(given, f"{place}.match", _MATCH)
        digests = dict(self._digests_of(match, f"{place}.match.api_key_sha256"))
        jwts = self._matches.parse(match, f"{place}.match", self.notes)
        if not digests and not jwts.issuer:
            self.notes.append(f"{place}.match: matches no one, so {name} is refused")
        rules = tuple(self._rules(fields.get("allow"), f"{place}.allow"))
        in_force = tuple(rule for mode, rule in rules if mode == _ENFORCE)
        if not in_force:
            self.notes.append(f"{place}.allow: allows nothing to {name}")
        return Caller(
            name=name,
            rules=in_force,
            audit_rules=tuple(rule for mode, rule in rules if mode == _AUDIT),
            api_key_digests=frozenset(digests),
            api_keys_end={digest: end for digest, end in digests.items() if end is not None},
            subjects=jwts.subjects,
            namespaces=jwts.namespaces,
            issuer=jwts.issuer,
            claims=jwts.claims,
            rate_limit=_rate_limit(fields["rate_limit"], f"{place}.rate_limit") if "rate_limit" in fields else None,
        )

    def _rules(self, value: object, place: str) -> Iterator[tuple[str, Rule]]:
        """The rules that have no empty list, each with its mode. One with an empty list allows nothing in any mode."""
        for at, item in items_of(value, place):
            fields = fields_of(item, at, _RULE)
            mode, rule = fields.get("mode", _ENFORCE), _rule(fields, at)
            if mode not in MODES:
                raise PolicyError(f"{at}.mode", f"must be {_ENFORCE}, the default, or {_AUDIT}")
            if not rule.allows_something:
                self.notes.append(f"{at}: allows nothing, because a list is empty")
                continue
            if mode == _AUDIT:
                self.notes.append(f"{at}: allows nothing: what it would allow is logged, because its mode is audit")
            yield str(mode), rule

    def _digests_of(self, match: Fields, place: str) -> Iterator[tuple[bytes, float | None]]:
        """The SHA-256 of each API key, and its end or None."""
        for at, item in items_of(match.get("api_key_sha256"), place):
            entry = fields_of(item, at, _API_KEY, required=("sha256",)) if isinstance(item, dict) else {"sha256": item}
            sha256 = entry["sha256"]
            if not isinstance(sha256, str) or _SHA256.fullmatch(sha256) is None:
                raise PolicyError(at, "must be the SHA-256 of an API key: 64 lower-case hex digits, in quotes")
            digest = bytes.fromhex(sha256)
            if digest in self._digests:
                raise PolicyError(at, "must not be repeated, here or in another caller")
            self._digests.add(digest)
            yield digest, _not_after(entry, at)


def _not_after(fields: Fields, place: str) -> float | None:
    """The end, in Unix time in seconds. A blank one is refused: without an end there is more access, not less."""
    if "not_after" not in fields:
        return None
    value = fields["not_after"]
    try:
        return parse_rfc3339(value if isinstance(value, str) else "")
    except ValueError:
        expected = "must be a time in the form of RFC 3339 with seconds and offset, such as 2027-01-31T00:00:00Z"
        raise PolicyError(f"{place}.not_after", expected) from None


def _rate_limit(value: object, place: str) -> RateLimit:
    scope = LimitScope.REPLICA
    if isinstance(value, dict):
        fields = fields_of(value, place, _RATE_LIMIT, required=("limit",))
        if fields.get("scope", LimitScope.REPLICA) not in list(LimitScope):
            raise PolicyError(f"{place}.scope", "must be replica, the default, or fleet")
        scope = LimitScope(str(fields.get("scope", scope)))
        value, place = fields["limit"], f"{place}.limit"
    found = _RATE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise PolicyError(place, "must have the form 200/s, 600/m or 1000/h, with a number from 1 to 1000000")
    return RateLimit(int(found[1]), _PERIODS[found[2]], scope)


def _rule(fields: Fields, place: str) -> Rule:
    return Rule(
        orgs=_orgs(fields.get("orgs"), f"{place}.orgs"),
        credentials=_credentials(fields["credentials"], place) if "credentials" in fields else _ONLY_DEFAULT,
        scopes=_scopes(fields["scopes"], f"{place}.scopes") if "scopes" in fields else None,
        actions=_actions(fields["actions"], f"{place}.actions") if "actions" in fields else DEFAULT_ACTIONS,
        not_after=_not_after(fields, place),
        place=place,
    )


def _orgs(value: object, place: str) -> frozenset[OrgId] | None:
    items = list(items_of(value, place))
    if [item for _, item in items] == [_EVERY]:
        return None
    orgs = set()
    for at, item in items:
        if item == _EVERY:
            raise PolicyError(at, 'must not be listed with other orgs: "*" is the only item')
        try:
            orgs.add(parse_org(item if isinstance(item, str) else ""))
        except InvalidRequestError:
            raise PolicyError(at, 'must be 24 letters or digits, then @AdobeOrg; or "*" alone') from None
    return frozenset(orgs)


def _credentials(value: object, place: str) -> frozenset[CredentialName]:
    names = set()
    for at, item in items_of(value, f"{place}.credentials"):
        try:
            names.add(parse_credential_name(item if isinstance(item, str) else ""))
        except InvalidRequestError:
            raise PolicyError(at, "must be 1 to 64 letters, digits, hyphens or underscores") from None
    return frozenset(names)


def _scopes(value: object, place: str) -> frozenset[Scope]:
    scopes = set[Scope]()
    for at, item in items_of(value, place):
        if item == _EVERY:
            raise PolicyError(at, "must be a scope; omit scopes to allow all scopes of the credential")
        try:
            scopes.update(scopes_of((item if isinstance(item, str) else "",)))
        except InvalidRequestError:
            raise PolicyError(at, "must be one scope of RFC 6749 section 3.3, without a comma") from None
    return frozenset(scopes)


def _actions(value: object, place: str) -> frozenset[Action]:
    actions = set()
    for at, item in items_of(value, place):
        try:
            actions.add(Action(item) if isinstance(item, str) else Action(""))
        except ValueError:
            raise PolicyError(at, f"must be one of {', '.join(Action)}") from None
    return frozenset(actions)
