"""The part of a caller's ``match`` that names JWTs: issuer, subjects, namespace and claims."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product

from app.domain.claim import Claim, Requirement, claims_of
from app.domain.identity import Issuer
from app.domain.issuer_document import MAX_ISSUER_LENGTH
from app.domain.plain_document import Fields, PolicyError, is_blank, items_of, text_of

MAX_SUBJECT_LENGTH = 512
MAX_CLAIMS = 20
MAX_CLAIM_VALUES = 1000
MAX_CLAIM_NAME, MAX_CLAIM_VALUE = 256, 1024

NAMESPACE = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
"""The form of a Kubernetes namespace: an RFC 1123 label."""

_NAMESPACE = re.compile(NAMESPACE)
_OF_JWTS = frozenset({"issuer", "subject", "namespace", "claims"})
VERIFIED_CLAIMS = frozenset({"iss", "sub", "exp", "nbf", "iat"})
"""Claims with a field or a check of their own."""


@dataclass(frozen=True, slots=True)
class JwtMatch:
    """The JWTs that are one caller: those of `issuer` that have one of the subjects or namespaces, and all claims.

    Args:
        issuer: The ``iss`` claim; empty if no JWT is this caller.
        subjects: (issuer, subject) pairs.
        namespaces: (issuer, Kubernetes namespace) pairs.
        claims: Requirements that must all be met. Without subjects and namespaces they alone decide.

    """

    issuer: str = ""
    subjects: frozenset[tuple[str, str]] = frozenset()
    namespaces: frozenset[tuple[str, str]] = frozenset()
    claims: frozenset[Requirement] = frozenset()


class JwtMatches:
    """Parses the matches of all callers, and refuses one that an earlier caller has."""

    def __init__(self, issuers: tuple[Issuer, ...]) -> None:
        self._issuers = frozenset(issuer.issuer for issuer in issuers)
        self._earlier: set[tuple[object, ...]] = set()
        self._compared: dict[str, set[str]] = {}

    def compared(self, issuer: str) -> frozenset[str]:
        """The names of the claims that the matches so far compare for one issuer."""
        return frozenset(self._compared.get(issuer, ()))

    def parse(self, match: Fields, place: str, notes: list[str]) -> JwtMatch:
        """Parse what a match says of JWTs. A field that is blank matches no JWT, whatever the other fields say.

        Args:
            match: The fields of the match.
            place: Its place in the file.
            notes: Takes the reason why a match that is valid matches no JWT.

        Raises:
            PolicyError: Something is malformed or repeated.

        """
        given = _OF_JWTS & match.keys()
        issuer = "" if is_blank(match.get("issuer")) else text_of(match["issuer"], f"{place}.issuer", MAX_ISSUER_LENGTH)
        subjects = _subjects(match.get("subject"), f"{place}.subject")
        spaces = _namespaces(match.get("namespace"), f"{place}.namespace")
        claims = _claims(match.get("claims"), f"{place}.claims")
        if subjects and spaces:
            raise PolicyError(place, "must have either subject or namespace, not both")
        if not given:
            return JwtMatch()
        if given == {"issuer"} or any(is_blank(match.get(name)) for name in given | {"issuer"}):
            notes.append(f"{place}: matches no JWT without issuer together with subject, namespace or claims")
            return JwtMatch()
        if issuer not in self._issuers:
            # Such a JWT is not verified. One that was verified under the policy before must not match any more.
            notes.append(f"{place}.issuer: is not one of the policy's issuers, so no JWT matches")
            return JwtMatch()
        kind = "subject" if "subject" in given else "namespace" if "namespace" in given else "claims"
        if (kind != "claims" and not subjects and not spaces) or frozenset() in claims:
            notes.append(f"{place}: matches no JWT, because a list is empty")
            return JwtMatch()
        for named in subjects or spaces or ("",):
            identity = (kind, issuer, named, claims)
            if identity in self._earlier:
                raise PolicyError(f"{place}.{kind}", "must not be that of an earlier caller of the same issuer")
            self._earlier.add(identity)
        self._compared.setdefault(issuer, set()).update(name for either in claims for name, _, _ in either)
        return JwtMatch(issuer, frozenset(product((issuer,), subjects)), frozenset(product((issuer,), spaces)), claims)


def _subjects(value: object, place: str) -> tuple[str, ...]:
    if is_blank(value):
        return ()
    if not isinstance(value, list):
        return (text_of(value, place, MAX_SUBJECT_LENGTH),)
    return tuple(dict.fromkeys(text_of(item, at, MAX_SUBJECT_LENGTH) for at, item in items_of(value, place)))


def _namespaces(value: object, place: str) -> tuple[str, ...]:
    if is_blank(value):
        return ()
    if not isinstance(value, str) or _NAMESPACE.fullmatch(value) is None:
        raise PolicyError(place, "must be the exact name of one Kubernetes namespace, not a pattern")
    return (value,)


def _claims(value: object, place: str) -> frozenset[Requirement]:
    if is_blank(value):
        return frozenset()
    if not isinstance(value, dict) or len(value) > MAX_CLAIMS:
        raise PolicyError(place, f"must be a mapping of at most {MAX_CLAIMS} claims")
    return frozenset(_requirement(name, expected, place) for name, expected in value.items())


def _requirement(unparsed_name: object, value: object, place: str) -> Requirement:
    name = text_of(unparsed_name, place, MAX_CLAIM_NAME)
    if name in VERIFIED_CLAIMS:
        raise PolicyError(place, "must not have iss, sub, exp, nbf or iat: use issuer and subject")
    at = f"{place}.{name}"
    # Without a value no JWT meets the requirement.
    values = [item for item in (value if isinstance(value, list) else [value]) if not is_blank(item)]
    if len(values) > MAX_CLAIM_VALUES:
        raise PolicyError(at, f"must have at most {MAX_CLAIM_VALUES} values")
    return frozenset(_claim(name, item, at) for item in values)


def _claim(name: str, value: object, place: str) -> Claim:
    if isinstance(value, str):
        text_of(value, place, MAX_CLAIM_VALUE)
    if isinstance(value, list) or not (claims := tuple(claims_of(name, value))):
        raise PolicyError(place, "must be text, a whole number, true or false, or a list of these")
    return claims[0]
