"""Parses a decoded policy file to a `Policy`. The format is that of docs/contract.md section 4, and nothing else.

An error names the place and what was expected there, never the value found, which may be the hash of a key, or a key
that someone pasted into the wrong line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from app.domain.errors import InvalidRequestError
from app.domain.identity import Issuer, RateLimit
from app.domain.issuer_document import parse_issuers
from app.domain.names import (
    DEFAULT_CREDENTIAL,
    CredentialName,
    OrgId,
    Scope,
    parse_credential_name,
    parse_org,
    scopes_of,
)
from app.domain.plain_document import Fields, PolicyError, fields_of, items_of, text_of
from app.domain.policy import DEFAULT_ACTIONS, Action, Caller, Policy, Rule

MAX_SUBJECT_LENGTH = 512

_TOP = frozenset({"version", "issuers", "callers"})
_CALLER = frozenset({"name", "match", "rate_limit", "allow"})
_MATCH = frozenset({"api_key_sha256", "issuer", "subject", "namespace"})
_RULE = frozenset({"orgs", "credentials", "scopes", "actions"})

_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # an RFC 1123 label, as in Kubernetes
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_RATE = re.compile(r"([1-9][0-9]{0,6})/([smh])")
_PERIODS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_MAX_RATE = 1_000_000
_EVERY = "*"
_ONLY_DEFAULT = frozenset({DEFAULT_CREDENTIAL})


def parse_policy(document: object, version: str) -> Policy:
    """Parse a whole policy.

    Args:
        document: The decoded file: plain dicts, lists, strings and integers.
        version: The name of this version, such as the beginning of the file's SHA-256.

    Raises:
        PolicyError: Something is missing, unknown, malformed or repeated; the file is refused as a whole.

    """
    if document is None:
        raise PolicyError("policy", "must not be empty")
    top = fields_of(document, "policy", _TOP, required=("version", "callers"))
    if type(top["version"]) is not int or top["version"] != 1:
        raise PolicyError("version", "must be 1")
    issuers = parse_issuers(top.get("issuers", []))
    return Policy(_Callers(issuers).parse(top["callers"]), issuers, version)


class _Callers:
    """Parses callers, and refuses names, API keys and identities that an earlier caller has."""

    def __init__(self, issuers: tuple[Issuer, ...]) -> None:
        self._issuers = frozenset(issuer.issuer for issuer in issuers)
        self._names: set[str] = set()
        self._digests: set[bytes] = set()
        self._subjects: set[tuple[str, str]] = set()
        self._namespaces: set[tuple[str, str]] = set()

    def parse(self, value: object) -> Iterator[Caller]:
        for place, item in items_of(value, "callers"):
            yield self._caller(item, place)

    def _caller(self, value: object, place: str) -> Caller:
        fields = fields_of(value, place, _CALLER, required=("name", "match", "allow"))
        name = fields["name"]
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise PolicyError(f"{place}.name", "must be 1 to 63 letters, digits, dots, hyphens or underscores")
        if name in self._names:
            raise PolicyError(f"{place}.name", "must not be the name of an earlier caller")
        self._names.add(name)
        match = fields_of(fields["match"], f"{place}.match", _MATCH)
        digests = self._digests_of(match, f"{place}.match.api_key_sha256")
        subjects, namespaces = self._jwts_of(match, f"{place}.match")
        if not digests and not subjects and not namespaces:
            raise PolicyError(
                f"{place}.match", "must have api_key_sha256, or issuer and subject, or issuer and namespace"
            )
        return Caller(
            name=name,
            rules=tuple(_rule(item, at) for at, item in items_of(fields["allow"], f"{place}.allow")),
            api_key_digests=digests,
            subjects=subjects,
            namespaces=namespaces,
            rate_limit=_rate_limit(fields["rate_limit"], f"{place}.rate_limit") if "rate_limit" in fields else None,
        )

    def _digests_of(self, match: Fields, place: str) -> frozenset[bytes]:
        if "api_key_sha256" not in match:
            return frozenset()
        digests = set()
        for at, item in items_of(match["api_key_sha256"], place):
            if not isinstance(item, str) or _SHA256.fullmatch(item) is None:
                raise PolicyError(at, "must be the SHA-256 of an API key: 64 lower-case hex digits, in quotes")
            digest = bytes.fromhex(item)
            if digest in self._digests:
                raise PolicyError(at, "must not be repeated, here or in another caller")
            self._digests.add(digest)
            digests.add(digest)
        return frozenset(digests)

    def _jwts_of(self, match: Fields, place: str) -> tuple[frozenset[tuple[str, str]], frozenset[tuple[str, str]]]:
        """The subjects and the namespaces of a match: one of the two has one item if the match names an issuer."""
        if "issuer" not in match and "subject" not in match and "namespace" not in match:
            return frozenset(), frozenset()
        if "issuer" not in match or ("subject" in match) == ("namespace" in match):
            raise PolicyError(place, "must have issuer together with either subject or namespace")
        issuer = match["issuer"]
        if not isinstance(issuer, str) or issuer not in self._issuers:
            raise PolicyError(f"{place}.issuer", "must be one of the policy's issuers")
        if "namespace" in match:
            space = (issuer, _namespace(match["namespace"], f"{place}.namespace"))
            return frozenset(), _claimed(space, self._namespaces, f"{place}.namespace")
        subject = (issuer, text_of(match["subject"], f"{place}.subject", MAX_SUBJECT_LENGTH))
        return _claimed(subject, self._subjects, f"{place}.subject"), frozenset()


def _claimed(pair: tuple[str, str], earlier: set[tuple[str, str]], place: str) -> frozenset[tuple[str, str]]:
    if pair in earlier:
        raise PolicyError(place, "must not be that of an earlier caller of the same issuer")
    earlier.add(pair)
    return frozenset({pair})


def _namespace(value: object, place: str) -> str:
    if not isinstance(value, str) or _NAMESPACE.fullmatch(value) is None:
        raise PolicyError(place, "must be the exact name of one Kubernetes namespace, not a pattern")
    return value


def _rate_limit(value: object, place: str) -> RateLimit:
    found = _RATE.fullmatch(value) if isinstance(value, str) else None
    if found is None or int(found[1]) > _MAX_RATE:
        raise PolicyError(place, "must have the form 200/s, 600/m or 1000/h, with a number from 1 to 1000000")
    return RateLimit(int(found[1]), _PERIODS[found[2]])


def _rule(value: object, place: str) -> Rule:
    fields = fields_of(value, place, _RULE, required=("orgs",))
    return Rule(
        orgs=_orgs(fields["orgs"], f"{place}.orgs"),
        credentials=_credentials(fields["credentials"], place) if "credentials" in fields else _ONLY_DEFAULT,
        scopes=_scopes(fields["scopes"], f"{place}.scopes") if "scopes" in fields else None,
        actions=_actions(fields["actions"], f"{place}.actions") if "actions" in fields else DEFAULT_ACTIONS,
    )


def _orgs(value: object, place: str) -> frozenset[OrgId] | None:
    if value == [_EVERY]:
        return None
    orgs = set()
    for at, item in items_of(value, place):
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
