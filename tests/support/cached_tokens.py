"""Access tokens and key rings as tests of the shared cache need them."""

from __future__ import annotations

import base64
import json

from app.domain.access_token import AccessToken
from app.domain.names import ALL_SCOPES, CredentialName, CredentialRef, OrgId, ScopeSelection, TokenKey, scopes_of
from app.shared_cache.key_ring import KeyRing

ORG = OrgId("0123456789ABCDEF01234567@AdobeOrg")
OTHER_ORG = OrgId("FEDCBA9876543210FEDCBA98@AdobeOrg")
REF = CredentialRef(ORG)
KEY = TokenKey(REF)
OTHER_KEY = TokenKey(CredentialRef(OTHER_ORG))
LIFE = 86_400.0

SOME_SCOPES = ScopeSelection(scopes_of(["AdobeID", "openid"]), exact=True)
BOUND_SCOPES = ScopeSelection(scopes_of(["AdobeID", "openid"]))
SECOND_CREDENTIAL = TokenKey(CredentialRef(ORG, CredentialName("second")))

ALL_KEYS = (
    KEY,
    OTHER_KEY,
    SECOND_CREDENTIAL,
    TokenKey(REF, SOME_SCOPES),
    TokenKey(REF, BOUND_SCOPES),
)
"""Keys that differ in one thing each: nothing, org, credential, scopes, and whether the scopes are exact."""


def token_of(
    key: TokenKey = KEY,
    value: str = "eyJ.canary-of-the-shared-cache",
    *,
    minted_at: float,
    life: float = LIFE,
    epoch: int = 0,
) -> AccessToken:
    """A token minted at `minted_at` (Unix time in seconds)."""
    selection = ALL_SCOPES if key.selection.scopes is None else key.selection
    return AccessToken(
        key=key,
        value=value,
        client_id="client-of-the-tests",
        kind="oauth_server_to_server",
        ims_base_url="https://ims-na1.adobelogin.com",
        scopes=selection.scopes or scopes_of(["AdobeID", "openid", "session"]),
        generation="3",
        epoch=epoch,
        minted_at=minted_at,
        expires_at=minted_at + life,
        refresh_at=minted_at + life / 2,
        sandbox="prod",
    )


def key_ring(*ids: str, salt: int = 1) -> KeyRing:
    """A ring with these keys; the same id and salt are the same key. When they were made is unknown."""
    return KeyRing.parse(key_ring_document(*ids, salt=salt))


def key_ring_document(*ids: str, salt: int = 1, dated: bool = False) -> bytes:
    """The same ring as a file has it; if `dated`, ``k2`` was made on the second day of a month, and so on."""
    keys = [
        {"id": key_id, "key": base64.b64encode(bytes([salt + sum(key_id.encode()) % 199] * 32)).decode()}
        | ({"created": f"2026-01-{key_id[1:]:0>2}T00:00:00Z"} if dated else {})
        for key_id in ids
    ]
    return json.dumps({"version": 1, "keys": keys}).encode()


def dated_key_ring(*ids: str) -> KeyRing:
    """A ring whose keys say when they were made, each on the day of its number."""
    return KeyRing.parse(key_ring_document(*ids, dated=True))
