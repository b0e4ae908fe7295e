"""An issuer's public keys, each limited to the algorithms of its type."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import Algorithm, ECAlgorithm, OKPAlgorithm, RSAAlgorithm, get_default_algorithms

from app.adapters.jwt_verifier.compact import MAX_KEY_ID_LENGTH, UnverifiedJwt
from app.adapters.jwt_verifier.issuer_error import IssuerError
from app.domain.identity import JWT_ALGORITHMS
from app.domain.strict_json import strict_json

MAX_ISSUER_KEYS = 100
_MAX_TRIED = 10
_MIN_RSA_BITS, _MAX_RSA_BITS, _MAX_RSA_EXPONENT_BITS = 2048, 8192, 32
_MAX_MEMBER_LENGTH = 2048

_VERIFIERS: dict[str, Algorithm] = {name: get_default_algorithms()[name] for name in JWT_ALGORITHMS}
_KINDS: dict[tuple[object, object], tuple[Any, tuple[str, ...]]] = {
    ("RSA", None): (RSAAlgorithm, ("RS256", "RS384", "RS512", "PS256")),
    ("EC", "P-256"): (ECAlgorithm, ("ES256",)),
    ("EC", "P-384"): (ECAlgorithm, ("ES384",)),
    ("OKP", "Ed25519"): (OKPAlgorithm, ("EdDSA",)),
}
# "jwt-svid" marks the keys for JWT-SVIDs in a SPIFFE trust bundle.
_USES = (None, "sig", "jwt-svid")


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key.

    Args:
        key_id: Its ``kid``, or None.
        algorithms: The algorithms that it may be used with.
        key: The key object.

    """

    key_id: str | None
    algorithms: tuple[str, ...]
    key: Any

    def verifies(self, jwt: UnverifiedJwt) -> bool:
        """Whether the signature of `jwt` was made with this key."""
        try:
            return _VERIFIERS[jwt.algorithm].verify(jwt.signing_input, self.key, jwt.signature)
        except Exception:  # noqa: BLE001  # any error of a library means: not verified
            return False


class KeySet:
    """The usable keys of one issuer."""

    def __init__(self, keys: tuple[VerifyingKey, ...]) -> None:
        self._keys = keys
        by_id: dict[str, list[VerifyingKey]] = {}
        for key in keys:
            if key.key_id is not None:
                by_id.setdefault(key.key_id, []).append(key)
        self._by_id: Mapping[str, tuple[VerifyingKey, ...]] = {name: tuple(same) for name, same in by_id.items()}

    def __len__(self) -> int:
        return len(self._keys)

    def knows(self, jwt: UnverifiedJwt) -> bool:
        """Whether `jwt` names one of these keys, so that a newer set would give the same result."""
        return jwt.key_id is not None and jwt.key_id in self._by_id

    def verifies(self, jwt: UnverifiedJwt) -> bool:
        """Whether a key of this set made the signature. Without a ``kid`` a few suitable keys are tried."""
        named = self._keys if jwt.key_id is None else self._by_id.get(jwt.key_id, ())
        suitable = [key for key in named if jwt.algorithm in key.algorithms]
        return any(key.verifies(jwt) for key in suitable[:_MAX_TRIED])


def parse_key_set(body: bytes) -> KeySet:
    """Parse a JWK set (RFC 7517). Unknown, weak and private keys are skipped.

    A set without a usable key is a result like any other: the issuer has withdrawn the keys that it had.

    Raises:
        IssuerError: It is not a JWK set, or it has too many keys.

    """
    try:
        document = strict_json(body.removeprefix(codecs.BOM_UTF8))
    except ValueError:
        raise IssuerError("the JWK set is not JSON") from None
    items = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(items, list):
        raise IssuerError("the document is not a JWK set")
    if len(items) > MAX_ISSUER_KEYS:
        raise IssuerError(f"the JWK set has more than {MAX_ISSUER_KEYS} keys")
    return KeySet(tuple(key for key in map(_usable_key, items) if key is not None))


def _usable_key(unverified: object) -> VerifyingKey | None:
    if not isinstance(unverified, dict):
        return None
    jwk = _without_empty_members(unverified)
    if not _is_for_verifying(jwk):
        return None
    kind = _KINDS.get((jwk.get("kty"), jwk.get("crv"))) if _has_short_members(jwk) else None
    if kind is None:
        return None
    reader, algorithms = kind
    if "alg" in jwk:
        algorithms = (jwk["alg"],) if jwk["alg"] in algorithms else ()
    try:
        key = reader.from_jwk(jwk)
    except Exception:  # noqa: BLE001  # one unreadable key must not affect the others
        return None
    return VerifyingKey(jwk.get("kid"), algorithms, key) if algorithms and _is_strong(key) else None


def _without_empty_members(jwk: Mapping[str, Any]) -> dict[str, Any]:
    """The members that say something: some issuers write null, "" or [] for what a key does not have."""
    return {name: value for name, value in jwk.items() if value is not None and value not in ("", [])}


def _is_for_verifying(jwk: Mapping[str, object]) -> bool:
    operations = jwk.get("key_ops", ["verify"])
    return "d" not in jwk and jwk.get("use") in _USES and isinstance(operations, list) and "verify" in operations


def _has_short_members(jwk: Mapping[str, object]) -> bool:
    """Whether all members in use are text of limited length; ``x5c`` and the like are not used."""
    read = [jwk[name] for name in ("kty", "crv", "alg", "n", "e", "x", "y") if name in jwk]
    if not all(isinstance(value, str) and len(value) <= _MAX_MEMBER_LENGTH for value in read):
        return False
    key_id = jwk.get("kid", "none")
    return isinstance(key_id, str) and 1 <= len(key_id) <= MAX_KEY_ID_LENGTH


def _is_strong(key: object) -> bool:
    if not isinstance(key, RSAPublicKey):
        return True
    exponent_bits = key.public_numbers().e.bit_length()
    return _MIN_RSA_BITS <= key.key_size <= _MAX_RSA_BITS and exponent_bits <= _MAX_RSA_EXPONENT_BITS
