"""What a certificate says, and what IMS or the broker would refuse (docs/ims.md sections 1.3, 1.6 and 5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from app.domain.rfc3339 import rfc3339
from app.domain.signing import MAX_RSA_BITS, MIN_RSA_BITS

RSA = "RSA"
DAY = 86400.0

WARN_DAYS = 30.0
"""Adobe writes to the owner weekly in the last 30 days of a certificate (docs/ims.md section 5)."""

_WEAK_HASHES = frozenset({"md5", "sha1"})
_DOCUMENTED_BITS = 2048


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What an X.509 certificate says.

    Args:
        subject: Its subject as RFC 4514 writes it, printable.
        serial_number: In hex.
        sha1: The fingerprint, in hex.
        sha256: The fingerprint, in hex.
        not_before: Unix time in seconds.
        not_after: Unix time in seconds.
        key_type: `RSA`, or what it is instead.
        key_bits: The size of its key; None if that is unknown.
        signature_hash: The hash of its signature, such as ``sha256``; None if the signature needs none.
        public_key: Its public key (SubjectPublicKeyInfo, DER).

    """

    subject: str
    serial_number: str
    sha1: str
    sha256: str
    not_before: float
    not_after: float
    key_type: str
    key_bits: int | None
    signature_hash: str | None
    public_key: bytes = field(repr=False)

    def days_left(self, now: float) -> float:
        """Days from `now`, Unix time in seconds, to its end; negative after it."""
        return (self.not_after - now) / DAY

    def belongs_to(self, public_key: bytes) -> bool:
        """Whether this is the public key in it."""
        return self.public_key == public_key


@dataclass(frozen=True, slots=True)
class CertificateFinding:
    """One thing that a person should know of a certificate.

    Args:
        code: Its name, for programs.
        detail: One sentence with the remedy.
        is_error: Whether the credential does not work with it.

    """

    code: str
    detail: str
    is_error: bool = True


def certificate_findings(facts: CertificateFacts, now: float) -> tuple[CertificateFinding, ...]:
    """What is wrong with a certificate at `now`, Unix time in seconds; the errors first."""
    found = (*_validity(facts, now), *_key(facts), *_signature(facts))
    return tuple(sorted(found, key=lambda finding: not finding.is_error))


def _validity(facts: CertificateFacts, now: float) -> Iterator[CertificateFinding]:
    if facts.not_after <= now:
        yield CertificateFinding(
            "expired",
            f"It has ended on {rfc3339(facts.not_after)}: IMS refuses what its key signs, and says that the signature"
            " matches none of the bindings. Add a new certificate in Adobe's console.",
        )
    elif facts.not_after - now < WARN_DAYS * DAY:
        yield CertificateFinding(
            "ends_soon", f"It ends on {rfc3339(facts.not_after)}; replace it with `cert rotate` before.", is_error=False
        )
    if facts.not_before > now:
        yield CertificateFinding(
            "not_yet_valid", f"It is not valid before {rfc3339(facts.not_before)}. Check the clock that made it."
        )


def _key(facts: CertificateFacts) -> Iterator[CertificateFinding]:
    if facts.key_type != RSA:
        yield CertificateFinding(
            "not_rsa",
            f"Its key is {facts.key_type}; IMS documents RS256 alone, which needs an RSA key. Make one with"
            " `cert create`.",
        )
    elif facts.key_bits is None or not MIN_RSA_BITS <= facts.key_bits <= MAX_RSA_BITS:
        yield CertificateFinding(
            "key_size", f"Its RSA key has {facts.key_bits} bits; the broker takes {MIN_RSA_BITS} to {MAX_RSA_BITS}."
        )
    elif facts.key_bits != _DOCUMENTED_BITS:
        yield CertificateFinding(
            "key_size_undocumented",
            f"Its RSA key has {facts.key_bits} bits; Adobe documents {_DOCUMENTED_BITS} alone. Try it with a real"
            " exchange before you rely on it.",
            is_error=False,
        )


def _signature(facts: CertificateFacts) -> Iterator[CertificateFinding]:
    if facts.signature_hash in _WEAK_HASHES:
        yield CertificateFinding(
            "weak_signature",
            f"It is signed with {facts.signature_hash.upper()}; Adobe documents SHA-256. Make a new one with"
            " `cert create`.",
        )
    elif facts.key_type == RSA and facts.signature_hash != "sha256":
        yield CertificateFinding(
            "signature_undocumented",
            f"It is signed with {facts.signature_hash or 'no hash'}; Adobe documents SHA-256 alone.",
            is_error=False,
        )
