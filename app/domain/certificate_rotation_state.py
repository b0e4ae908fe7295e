"""How far the replacement of a key and its certificate is, as it is kept in the credential store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self

from app.domain.secret_rotation_state import RotationError

SIGNING_FIELDS = ("private_key", "private_key_passphrase", "certificate")
"""The fields of a document that belong together: they are replaced at once."""


@dataclass(frozen=True, slots=True)
class SigningPair:
    """A private key and its certificate.

    Args:
        private_key: PEM text.
        certificate: PEM text.
        passphrase: Of the private key; None if it is not encrypted.

    """

    private_key: str = field(repr=False)
    certificate: str
    passphrase: str | None = field(repr=False, default=None)

    def fields(self) -> dict[str, object]:
        """As a document has them."""
        passphrase = {} if self.passphrase is None else {"private_key_passphrase": self.passphrase}
        return {"private_key": self.private_key, "certificate": self.certificate, **passphrase}


class CertificateStep(StrEnum):
    """How far a replacement is. Each step is written down before the next one begins."""

    PREPARED = "prepared"
    """The new pair is kept; the document has the old one. Adobe may not know the new certificate yet."""
    WRITTEN = "written"
    """The document has the new pair; an exchange through the document is missing."""


@dataclass(frozen=True, slots=True)
class CertificateRotationState:
    """What a replacement needs to go on after a crash.

    Args:
        step: The last step that was recorded.
        new: The new pair.
        old: The fields of the document that it takes the place of, as they were.

    """

    step: CertificateStep
    new: SigningPair
    old: Mapping[str, object] = field(repr=False)

    def at(self, step: CertificateStep) -> Self:
        """The state at another step."""
        return replace(self, step=step)

    def document(self) -> dict[str, object]:
        """As it is stored."""
        return {"rotation": "certificate", "step": str(self.step), "new": self.new.fields(), "old": dict(self.old)}

    @classmethod
    def parsed(cls, document: Mapping[str, object]) -> Self:
        """The state of a stored document.

        Raises:
            RotationError: It is not one of these.

        """
        new, old, step = document.get("new"), document.get("old"), document.get("step")
        if isinstance(new, Mapping) and isinstance(old, Mapping) and step in list(CertificateStep):
            key, certificate, passphrase = (new.get(name) for name in ("private_key", "certificate", SIGNING_FIELDS[1]))
            if isinstance(key, str) and isinstance(certificate, str) and isinstance(passphrase, str | None):
                return cls(CertificateStep(str(step)), SigningPair(key, certificate, passphrase), old)
        raise RotationError(
            "The state of this rotation, below _certificates in the credential store, cannot be read. Compare the"
            " document with Adobe's console, then remove the state."
        )


def with_signing(content: Mapping[str, object], fields: Mapping[str, object]) -> dict[str, object]:
    """The content of a document with another key and certificate."""
    return {**{name: value for name, value in content.items() if name not in SIGNING_FIELDS}, **fields}


def signing_fields(content: Mapping[str, object]) -> dict[str, object]:
    """The key and the certificate of a document, as they are stored."""
    return {name: content[name] for name in SIGNING_FIELDS if name in content}
