"""Parses the raw bytes of a caller into typed values; refuses malformed, repeated and unknown parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from app.domain.access_token import MAX_MIN_TTL
from app.domain.errors import InvalidRequestError
from app.domain.names import (
    DEFAULT_CREDENTIAL,
    CredentialRef,
    Scope,
    parse_credential_name,
    parse_org,
    parse_scopes,
)

MAX_QUERY_BYTES = 8 * 1024

_MAX_FIELDS = 32
_MIN_TTL = re.compile(r"[0-9]{1,5}")
_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")


@dataclass(frozen=True, slots=True)
class TokenQuery:
    """The query of a caller.

    Args:
        ref: The credential.
        scopes: The scopes that it named, sorted, or None.
        min_ttl: Seconds for which the token must still be valid.

    """

    ref: CredentialRef
    scopes: tuple[Scope, ...] | None = None
    min_ttl: int = 0


def parse_urlencoded(raw: bytes, known: Iterable[str] | None = None, limit: int = MAX_QUERY_BYTES) -> dict[str, str]:
    """Decode urlencoded bytes (a query or a form).

    Args:
        raw: The bytes.
        known: The allowed names, or None to allow any name.
        limit: The largest number of bytes.

    Raises:
        InvalidRequestError: They are too long, not UTF-8 or badly encoded, or a name is repeated or unknown.

    """
    if len(raw) > limit:
        raise InvalidRequestError("The parameters are too long.")
    # As the URL Standard has it: nothing between two ampersands, or after the last one, is not a parameter.
    parts = b"&".join(part for part in raw.split(b"&") if part)
    try:
        pairs = parse_qsl(
            parts.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(parts),
            errors="strict",
            max_num_fields=_MAX_FIELDS,
        )
    except ValueError:
        raise InvalidRequestError("The parameters are not properly urlencoded.") from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise InvalidRequestError("A parameter is repeated.")
    if known is not None and not fields.keys() <= set(known):
        raise InvalidRequestError(f"Unknown parameter. Known parameters: {', '.join(sorted(known))}.")
    return fields


def parse_ref(fields: Mapping[str, str]) -> CredentialRef:
    """The tenant's credential that ``org`` and ``credential`` name.

    Raises:
        InvalidRequestError: ``org`` is missing, or one of them is malformed.

    """
    if "org" not in fields:
        raise InvalidRequestError("org is missing.")
    name = parse_credential_name(fields["credential"]) if "credential" in fields else DEFAULT_CREDENTIAL
    return CredentialRef(parse_org(fields["org"]), name)


def parse_token_query(raw: bytes, known: Iterable[str] = ("org", "credential", "scope", "min_ttl")) -> TokenQuery:
    """Parse the query of ``GET /token``.

    Raises:
        InvalidRequestError: A parameter is malformed, repeated, unknown or missing.

    """
    return parse_token_fields(parse_urlencoded(raw, known))


def parse_token_fields(fields: Mapping[str, str]) -> TokenQuery:
    """Parse ``org``, ``credential``, ``scope`` and ``min_ttl``.

    Raises:
        InvalidRequestError: One of them is malformed, or ``org`` is missing.

    """
    scopes = parse_scopes(fields["scope"]) if "scope" in fields else None
    return TokenQuery(parse_ref(fields), scopes, _parse_min_ttl(fields.get("min_ttl", "0")))


def _parse_min_ttl(unverified: str) -> int:
    if _MIN_TTL.fullmatch(unverified) is None or int(unverified) > MAX_MIN_TTL:
        raise InvalidRequestError(f"min_ttl must be whole seconds from 0 to {MAX_MIN_TTL}.")
    return int(unverified)


def parse_sha256(unverified: object) -> str:
    """Parse the hex SHA-256 of a token; the result is in lower case.

    Raises:
        InvalidRequestError: It is anything else.

    """
    if not isinstance(unverified, str) or _SHA256.fullmatch(unverified) is None:
        raise InvalidRequestError('The body must be {"token_sha256": "<64 hex digits>"}.')
    return unverified.lower()
