"""An access token as bytes with a version, for a cache that replicas of different releases share."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Literal, cast

from app.domain.access_token import AccessToken
from app.domain.errors import InvalidRequestError
from app.domain.names import Scope, TokenKey, scopes_of

RECORD_VERSION = 1
"""Increased when an older release would misread a new record. A new optional field does not increase it."""


class TokenRecordError(ValueError):
    """A record does not hold a token of the expected key.

    Args:
        reason: ``version``: another release wrote it. ``contradiction``: it does not match its key, or is malformed.

    """

    def __init__(self, reason: Literal["version", "contradiction"]) -> None:
        super().__init__(reason)
        self.reason = reason


def encode_token(token: AccessToken) -> bytes:
    """The record of `token`. Seal it, because it holds the token."""
    record = {
        "v": RECORD_VERSION,
        "org": token.key.ref.org,
        "credential": token.key.ref.name,
        "selection": token.key.selection.label,
        "token": token.value,
        "client_id": token.client_id,
        "kind": token.kind,
        "ims_base_url": token.ims_base_url,
        "scopes": token.scopes,
        "generation": token.generation,
        "epoch": token.epoch,
        "minted_at": token.minted_at,
        "expires_at": token.expires_at,
        "refresh_at": token.refresh_at,
        "sandbox": token.sandbox,
    }
    return json.dumps(record, separators=(",", ":")).encode()


def decode_token(record: bytes, key: TokenKey) -> AccessToken:
    """The token of a record that was found under `key`.

    Raises:
        TokenRecordError: It has another version, is malformed, or does not match `key`.

    """
    try:
        fields = json.loads(record.decode())  # of bytes it would first guess the encoding
    except (ValueError, RecursionError):
        raise TokenRecordError("contradiction") from None
    if not isinstance(fields, dict):
        raise TokenRecordError("contradiction")
    if _number(fields, "v") != RECORD_VERSION:
        raise TokenRecordError("version")
    found = (fields.get("org"), fields.get("credential"), fields.get("selection"))
    if found != (key.ref.org, key.ref.name, key.selection.label):
        raise TokenRecordError("contradiction")
    return _token(fields, key)


def _token(fields: Mapping[str, object], key: TokenKey) -> AccessToken:
    epoch = _number(fields, "epoch")
    token = AccessToken(
        key=key,
        value=_text(fields, "token"),
        client_id=_text(fields, "client_id"),
        kind=_text(fields, "kind"),
        ims_base_url=_text(fields, "ims_base_url"),
        scopes=_scopes(fields.get("scopes")),
        generation=_text(fields, "generation"),
        epoch=int(epoch),
        minted_at=_number(fields, "minted_at"),
        expires_at=_number(fields, "expires_at"),
        refresh_at=_number(fields, "refresh_at"),
        sandbox=None if fields.get("sandbox") is None else _text(fields, "sandbox"),
    )
    if epoch < 0 or epoch != token.epoch or not token.minted_at <= token.refresh_at <= token.expires_at:
        raise TokenRecordError("contradiction")
    return token


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise TokenRecordError("contradiction")
    return value


def _number(fields: Mapping[str, object], name: str) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRecordError("contradiction")
    try:
        finite = math.isfinite(value)
    except OverflowError:  # an integer that is too large for a float
        finite = False
    if not finite:
        raise TokenRecordError("contradiction")
    return value


def _scopes(value: object) -> tuple[Scope, ...]:
    """The scopes of a record, as IMS gave them. There may be none."""
    if value == []:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TokenRecordError("contradiction")
    try:
        return scopes_of(cast("list[str]", value))
    except InvalidRequestError:
        raise TokenRecordError("contradiction") from None
