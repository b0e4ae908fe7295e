"""Access tokens like those of IMS (RS256 JWTs whose lifetime is not in ``exp``), and records of those issued."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

KEY_ID = "ims_sandbox-key-at-1"
AUTHORISATION_SERVER = "ims-na1"
MAX_ISSUED_TOKENS = 200_000


@dataclass(frozen=True, slots=True)
class IssuedRecord:
    """The record of a token, without the token.

    Args:
        sha256: Lower-case hex SHA-256 of the token.
        client_id: Its client.
        org_id: Its org.
        claims: Its payload.
        expires_at: Unix time in seconds.
        revoked: Whether it was revoked.

    """

    sha256: str
    client_id: str
    org_id: str
    claims: Mapping[str, str] = field(repr=False)
    expires_at: float
    revoked: bool = False


class TokenMint:
    """Issues tokens and recognises them later. It makes a new signing key at each start."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._issued: OrderedDict[str, IssuedRecord] = OrderedDict()

    def issue(self, org_id: str, claims: Mapping[str, str], created_at: float, lifetime: float) -> tuple[str, str]:
        """Sign and remember a token.

        Args:
            org_id: The org of the token.
            claims: ``client_id``, ``user_id``, ``scope`` and any further claims.
            created_at: Unix time in seconds.
            lifetime: The lifetime, in seconds.

        Returns:
            The token and its SHA-256.

        """
        # docs/ims.md section 7: both times are strings of milliseconds.
        payload = {
            "id": f"{secrets.token_hex(12)}_ue1",
            "type": "access_token",
            "as": AUTHORISATION_SERVER,
            "created_at": str(int(created_at * 1000)),
            "expires_in": str(int(lifetime * 1000)),
            **claims,
        }
        headers = {"kid": KEY_ID, "x5u": f"{KEY_ID}.cer", "itt": "at"}
        token = jwt.encode(payload, self._key, algorithm="RS256", headers=headers)
        digest = sha256(token)
        self._issued[digest] = IssuedRecord(
            digest, payload.get("client_id", ""), org_id, payload, created_at + lifetime
        )
        if len(self._issued) > MAX_ISSUED_TOKENS:
            self._issued.popitem(last=False)
        return token, digest

    def find(self, token: str) -> IssuedRecord | None:
        """The record of a token that this mint issued, or None."""
        return self._issued.get(sha256(token))

    def revoke(self, digest: str) -> bool:
        """Revoke a token by its SHA-256; False if it is unknown."""
        record = self._issued.get(digest)
        if record is None:
            return False
        self._issued[digest] = replace(record, revoked=True)
        return True

    def jwks(self) -> dict[str, object]:
        """The public key as a JSON Web Key Set."""
        key = json.loads(RSAAlgorithm.to_jwk(self._key.public_key()))
        return {"keys": [{**key, "kid": KEY_ID, "alg": "RS256", "use": "sig"}]}


def sha256(token: str) -> str:
    """The SHA-256 of a token, which names it without revealing it."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
