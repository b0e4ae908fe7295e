"""Forged caller credentials: each must be refused with the same 401, and none may cause a request to anywhere."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.forged_claims import forged_claims
from tests.support.issuer import LocalIssuer, SigningKey, base64url


@dataclass(frozen=True)
class Forged:
    """A caller credential that proves nothing.

    Args:
        name: What is wrong with it; a test's id.
        authorization: The value of the ``Authorization`` header.

    """

    name: str
    authorization: bytes

    @property
    def credential(self) -> bytes:
        """What follows ``Bearer``; the whole header if there is no ``Bearer``."""
        return self.authorization.removeprefix(b"Bearer ")


def forged_credentials(issuer: LocalIssuer, now: float, trap_url: str, known_key: str) -> list[Forged]:
    """All of them.

    Args:
        issuer: The trusted issuer. Its first key must be RSA, and it must have an EC key too.
        now: Unix time in seconds.
        trap_url: A URL that must never be called.
        known_key: An API key that the broker knows.

    """
    return [
        *_malformed_headers(issuer.token(now)),
        *_api_keys(known_key),
        *(_bearer(name, token) for name, token in _malformed_tokens(issuer, now)),
        *(_bearer(name, token) for name, token in _algorithms(issuer, now)),
        *(_bearer(name, token) for name, token in _headers(issuer, now, trap_url)),
        *(_bearer(name, token) for name, token in forged_claims(issuer, now)),
    ]


def _bearer(name: str, token: str | bytes) -> Forged:
    return Forged(name, b"Bearer " + (token.encode() if isinstance(token, str) else token))


def _malformed_headers(good: str) -> Iterator[Forged]:
    """Row 67."""
    yield Forged("empty header", b"")
    yield Forged("scheme alone", b"Bearer")
    yield Forged("scheme and blank", b"Bearer ")
    yield Forged("credential without scheme", good.encode())
    yield Forged("wrong scheme", b"Digest " + good.encode())
    yield Forged("two credentials in one header", f"Bearer {good}, Bearer {good}".encode())
    yield Forged("two words", f"Bearer {good} {good}".encode())
    yield Forged("basic scheme with a token", b"Basic " + good.encode())
    yield Forged("latin-1 bytes", b"Bearer \xff\xfe\xe9")
    yield Forged("quoted", f'Bearer "{good}"'.encode())


def _api_keys(known: str) -> Iterator[Forged]:
    """Row 76."""
    head, secret = known[:-1], known[-1]
    yield _bearer("api key: last character changed", head + ("A" if secret != "A" else "B"))
    yield _bearer("api key: last character missing", head)
    yield _bearer("api key: one character more", known + "A")
    yield _bearer("api key: its hash", hashlib.sha256(known.encode()).hexdigest())
    yield _bearer("api key: upper case", known.upper())
    yield _bearer("api key: prefix alone", "itb_")
    yield _bearer("api key: no secret", "itb_demo_")
    yield _bearer("api key: short secret", "itb_demo_abc")
    yield _bearer("api key: no id", "itb__" + "A" * 43)
    yield _bearer("api key: long", "itb_demo_" + "A" * 257)
    yield _bearer("api key: very long", "itb_demo_" + "A" * 8000)
    yield _bearer("api key: non-ASCII", known.encode() + b"\xc3\xa9")
    yield _bearer("api key: foreign character", known[:-2] + "+/")


def _malformed_tokens(issuer: LocalIssuer, now: float) -> Iterator[tuple[str, str | bytes]]:
    """Row 71."""
    good = issuer.token(now)
    header, payload, signature = good.split(".")
    key = issuer.keys[0]
    plain = {"alg": key.kind, "kid": key.kid}
    claims = issuer.claims(now)
    other = issuer.token(now, sub="system:serviceaccount:other:other").split(".")
    yield "one dot", f"{header}.{payload}"
    yield "three dots", good + ".x"
    yield "five parts, as JWE", f"{good}.x.y"
    yield "empty parts", ".."
    yield "empty signature", f"{header}.{payload}."
    yield "signature of another token", f"{header}.{payload}.{other[2]}"
    yield "payload of another token", f"{header}.{other[1]}.{signature}"
    yield "signature cut", good[:-4]
    yield "junk in the signature", f"{good[:-8]}!*{good[-8:]}"
    yield "padding in the signature", good + "=="
    yield "standard base64", good + "+/"
    yield "another spelling of the last character", good[:-1] + _sibling(good[-1])
    yield "trailing bits in the header", f"{header[:-1]}{_sibling(header[-1])}.{payload}.{signature}"
    yield "1 MB token", f"{header}.{payload}.{'A' * 1_000_000}"
    yield "9 kB token", key.sign(plain, {**claims, "filler": "x" * 9000})
    yield "header nested 4,000 deep", key.sign(b"[" * 4000, claims)
    yield "header nested 100,000 deep", f"{base64url(b'[' * 100_000)}.{payload}.{signature}"
    yield "claims nested deep", key.sign(plain, b'{"iss":' + b"[" * 3000)
    yield "header is a list", key.sign(b"[]", claims)
    yield "header is a number", key.sign(b"1", claims)
    yield "header not JSON", key.sign(b"{alg:RS256}", claims)
    yield "header not UTF-8", key.sign(b'{"alg":"RS256","kid":"\xff"}', claims)
    yield "header in UTF-16", key.sign(json.dumps(plain).encode("utf-16"), claims)
    yield "claims not UTF-8", key.sign(plain, b'{"sub":"\xff\xfe"}')
    yield "claims not an object", key.sign(plain, b'"text"')
    yield "claims empty", key.sign(plain, b"{}")
    yield "claims null", key.sign(plain, b"null")
    yield "claims a nested JWT", key.sign({**plain, "cty": "JWT"}, good.encode())


def _sibling(character: str) -> str:
    """A character whose upper bits are the same: a lenient decoder reads the same bytes."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return alphabet[alphabet.index(character) ^ 1]


def _algorithms(issuer: LocalIssuer, now: float) -> Iterator[tuple[str, str]]:
    """Row 68."""
    key = issuer.keys[0]
    claims, public = issuer.claims(now), key.private.public_key()
    elliptic = next(candidate for candidate in issuer.keys if candidate.kind == "ES256")
    stranger = SigningKey(key.kid, "RS256", serial=99)
    for spelling in ("none", "None", "NONE", "nOnE", "", "rs256", "RS256 ", "ES256K", "RS1"):
        yield f"alg {spelling!r}", f"{_part({'alg': spelling, 'kid': key.kid})}.{_part(claims)}.{'A' * 342}"
    yield "alg none, signature empty", f"{_part({'alg': 'none'})}.{_part(claims)}."
    yield "no alg", key.sign({"kid": key.kid}, claims)
    yield "alg null", key.sign({"alg": None, "kid": key.kid}, claims)
    yield "alg a list", key.sign({"alg": ["RS256"], "kid": key.kid}, claims)
    yield "alg an object", key.sign({"alg": {"RS256": 1}, "kid": key.kid}, claims)
    yield "alg of another type of key", key.sign({"alg": "ES256", "kid": key.kid}, claims)
    yield "alg of another hash", key.sign({"alg": "RS512", "kid": key.kid}, claims)
    for other in ("RS512", "PS256"):
        yield (
            f"signed as {other} by a key for RS256",
            SigningKey(key.kid, other).sign({"alg": other, "kid": key.kid}, claims),
        )
    yield "kid of an EC key", key.sign({"alg": "RS256", "kid": elliptic.kid}, claims)
    yield "strange key under a known kid", stranger.sign({"alg": "RS256", "kid": key.kid}, claims)
    yield "strange key without kid", stranger.sign({"alg": "RS256"}, claims)
    yield "strange key under an unknown kid", stranger.sign({"alg": "RS256", "kid": "unknown"}, claims)
    secrets = {
        "PEM": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "DER": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "PKCS#1": public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        "OpenSSH": public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        "JWK": json.dumps(key.jwk).encode(),
        "empty": b"",
    }
    for form, secret in secrets.items():
        signing_input = f"{_part({'alg': 'HS256', 'kid': key.kid})}.{_part(claims)}"
        mac = hmac.new(secret, signing_input.encode(), hashlib.sha256).digest()
        yield f"HS256 with the public key as {form}", f"{signing_input}.{base64url(mac)}"


def _part(document: object) -> str:
    return base64url(json.dumps(document).encode())


def _headers(issuer: LocalIssuer, now: float, trap_url: str) -> Iterator[tuple[str, str]]:
    """Row 70: what a header may not say. All but the first two are signed by the issuer's own key."""
    key, claims = issuer.keys[0], issuer.claims(now)
    plain = {"alg": key.kind, "kid": key.kid}
    stranger = SigningKey("mine", "RS256", serial=99)
    yield "jku of the forger", stranger.sign({"alg": "RS256", "kid": "mine", "jku": trap_url}, claims)
    yield "jwk of the forger", stranger.sign({"alg": "RS256", "kid": "mine", "jwk": stranger.jwk}, claims)
    for name, value in {"jku": trap_url, "x5u": trap_url, "jwk": stranger.jwk}.items():
        yield f"{name} next to crit", key.sign({**plain, name: value, "crit": [name]}, claims)
        yield f"{name} of the forger, known kid", stranger.sign({**plain, "alg": "RS256", name: value}, claims)
    yield "crit", key.sign({**plain, "crit": ["exp"], "exp": 1}, claims)
    yield "crit empty", key.sign({**plain, "crit": []}, claims)
    yield "b64", key.sign({**plain, "b64": False}, claims)
    yield "zip", key.sign({**plain, "zip": "DEF"}, claims)
    for wrong in ("JWE", "secevent+jwt", "logout+jwt", "dpop+jwt", "", " JWT", "application/", 1, None, ["JWT"]):
        yield f"typ {wrong!r}", key.sign({**plain, "typ": wrong}, claims)
    key_ids: tuple[object, ...] = (
        None,
        1,
        "",
        "x" * 257,
        ["key-1"],
        {"a": 1},
        trap_url,
        "../../etc/passwd",
        "' OR 1=1 --",
        "key-1\n",
    )
    for key_id in key_ids:
        yield f"kid {str(key_id)[:20]!r}", key.sign({"alg": key.kind, "kid": key_id}, claims)
    duplicate = f'{{"alg":"none","alg":"{key.kind}","kid":"{key.kid}"}}'
    yield "alg given twice", key.sign(duplicate.encode(), claims)
