"""The names that a caller can send. Each is parsed into a type before it becomes part of a path, a key or a URL."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NewType

from typing_extensions import override

from app.domain.errors import InvalidRequestError, InvalidScopeError

OrgId = NewType("OrgId", str)
"""An IMS organisation id: 24 alphanumerics and ``@AdobeOrg`` (Experience League, ``orgid``)."""

CredentialName = NewType("CredentialName", str)
"""The short name of one of a tenant's credentials."""

Scope = NewType("Scope", str)
"""One scope or metascope: a scope-token of RFC 6749 section 3.3 without commas, which separate scopes at IMS."""

DEFAULT_CREDENTIAL = CredentialName("default")
MAX_SCOPES = 64

ORG_ID = "[A-Za-z0-9]{24}@AdobeOrg"
"""The form of an org id. The OpenAPI document publishes it, too."""

EXAMPLE_ORG = "0123456789ABCDEF01234567@AdobeOrg"
"""The org id in examples; no tenant has it."""

CREDENTIAL_NAME = "[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
"""The form of the name of a credential. The OpenAPI document publishes it, too."""

SCOPE_TOKEN = r"[\x21\x23-\x2b\x2d-\x5b\x5d-\x7e]{1,200}"
"""The form of a scope. The schema of the policy publishes it, too."""

_ORG = re.compile(ORG_ID)
_CREDENTIAL = re.compile(CREDENTIAL_NAME)
_SCOPE = re.compile(SCOPE_TOKEN)
_SEPARATORS = re.compile(r"[ ,]+")


@dataclass(frozen=True, slots=True, order=True)
class CredentialRef:
    """The name of a credential, and the org of its tenant."""

    org: OrgId
    name: CredentialName = DEFAULT_CREDENTIAL


def parse_org(unverified: str) -> OrgId:
    """Parse an IMS org id.

    Raises:
        InvalidRequestError: It is not 24 alphanumerics followed by ``@AdobeOrg``.

    """
    if _ORG.fullmatch(unverified) is None:
        raise InvalidRequestError("org must be an IMS org id: 24 letters or digits, then @AdobeOrg.")
    return OrgId(unverified)


def parse_credential_name(unverified: str) -> CredentialName:
    """Parse a credential's short name: 1 to 64 of ``A-Z a-z 0-9 _ -``, beginning with a letter or digit.

    Raises:
        InvalidRequestError: Anything else.

    """
    if _CREDENTIAL.fullmatch(unverified) is None:
        raise InvalidRequestError("credential must be 1 to 64 letters, digits, hyphens or underscores.")
    return CredentialName(unverified)


def parse_scopes(unverified: str) -> tuple[Scope, ...]:
    """Parse a list of scopes separated by spaces or commas; the result is sorted and has no duplicates.

    Raises:
        InvalidRequestError: The list is empty or longer than 64, or a scope has a character that RFC 6749 does not
                allow.

    """
    return scopes_of(part for part in _SEPARATORS.split(unverified) if part)


def scopes_of(unverified: Iterable[str]) -> tuple[Scope, ...]:
    """Parse scopes, one in each string; the result is sorted and has no duplicates.

    Raises:
        InvalidRequestError: As `parse_scopes`.

    """
    parts = sorted(set(unverified))
    if not 1 <= len(parts) <= MAX_SCOPES:
        raise InvalidRequestError(f"scope must name 1 to {MAX_SCOPES} scopes, or be omitted.")
    if any(_SCOPE.fullmatch(part) is None for part in parts):
        raise InvalidRequestError("scope has a character that RFC 6749 section 3.3 does not allow, or is too long.")
    return tuple(Scope(part) for part in parts)


@dataclass(frozen=True, slots=True)
class ScopeSelection:
    """The scopes of a credential that a token must have; known from the request and the policy alone.

    Args:
        scopes: Sorted scopes, or None for all scopes of the credential.
        exact: True if the caller named the scopes: then a missing one is an error. False if they are the upper bound
            of the policy: then the token has those that the credential has, too.

    """

    scopes: tuple[Scope, ...] | None = None
    exact: bool = False

    @property
    def label(self) -> str:
        """The selection as text, for a cache key: ``*`` (all), ``= a b`` (exactly) or ``< a b`` (at most)."""
        if self.scopes is None:
            return "*"
        return f"{'=' if self.exact else '<'} {' '.join(self.scopes)}"

    def of(self, available: tuple[Scope, ...]) -> tuple[Scope, ...]:
        """The scopes to ask IMS for, out of the `available` scopes of the credential.

        Raises:
            InvalidScopeError: The credential lacks a scope that the caller named, or all scopes that the policy allows.

        """
        if self.scopes is None:
            return available
        common = tuple(scope for scope in self.scopes if scope in available)
        # Neither sentence names a scope: the caller may not know those of the credential.
        if self.exact and len(common) < len(self.scopes):
            raise InvalidScopeError(
                "scope: the credential lacks at least one of the requested scopes."
                " Omit scope to get all that the policy allows."
            )
        if not common:
            raise InvalidScopeError(
                "The credential has none of the scopes that the policy allows this caller."
                " Ask the operator to change the policy or the credential."
            )
        return common


ALL_SCOPES = ScopeSelection()


@dataclass(frozen=True, slots=True)
class TokenKey:
    """Identifies a token: tenant, credential and scopes. Requests with the same key get the same token."""

    ref: CredentialRef
    selection: ScopeSelection = ALL_SCOPES
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.ref, self.selection)))

    @override
    def __hash__(self) -> int:
        # Computed once, because a key is made once and looked up on every request.
        return self._hash
