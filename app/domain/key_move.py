"""A private key that moves to a remote signer when its credential is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.domain.adobe_import import ImportFileError
from app.domain.pem import PemError, private_key_pem
from app.domain.signing import REMOTE_SCHEMES

TRANSIT = "transit"
"""The scheme of the signer to which keys can be moved."""

FIELD = REMOTE_SCHEMES[TRANSIT].field

ORG_PLACE = "{org}"
"""In the name of a key: the place of the org id, without its ``@AdobeOrg``."""


@dataclass(frozen=True, slots=True)
class KeyToMove:
    """A private key that is not stored in the document.

    Args:
        name: Its name at the signer.
        private_key: PEM text.
        passphrase: The passphrase that decrypts it, or None.

    """

    name: str
    private_key: str = field(repr=False)
    passphrase: str | None = field(repr=False, default=None)

    def with_key(self, document: Mapping[str, object]) -> dict[str, object]:
        """`document` as if it had the key itself, to prove it before the key is moved."""
        passphrase = {} if self.passphrase is None else {"private_key_passphrase": self.passphrase}
        without = {name: value for name, value in document.items() if name != FIELD}
        return {**without, "private_key": self.private_key, **passphrase}


def key_name(template: str, org: object) -> str:
    """The name of a key at the signer, from what the operator gave."""
    return template.replace(ORG_PLACE, str(org).partition("@")[0])


def key_taken_out(document: Mapping[str, object]) -> tuple[dict[str, object], KeyToMove | None]:
    """A document with the name of a key, without the private key itself; and that key, if it had one.

    Raises:
        ImportFileError: The private key cannot be read.

    """
    rest = {name: value for name, value in document.items() if name not in {"private_key", "private_key_passphrase"}}
    if "private_key" not in document:
        return rest, None
    try:
        pem = private_key_pem(document["private_key"])
    except PemError as error:
        raise ImportFileError(f"has a defect in private_key: {error}") from None
    passphrase = document.get("private_key_passphrase")
    text = passphrase.rstrip("\r\n") if isinstance(passphrase, str) else None
    return rest, KeyToMove(str(document[FIELD]), pem, text)
