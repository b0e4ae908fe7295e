"""The parsing of a credential's document (docs/contract.md section 2).

Every error names the defective field, never its value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from app.domain.credential import KINDS, Credential, CredentialKind
from app.domain.errors import InvalidRequestError
from app.domain.names import CredentialRef, Scope, scopes_of
from app.domain.signing import REMOTE_SCHEMES, RemoteKey, SigningKey, StoredKey
from app.domain.tenant_errors import CredentialMisconfiguredError
from app.hosts import DEFAULT_IMS_BASE_URL, normal_ims_base_url

MAX_DOCUMENT_BYTES = 256 * 1024

_CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_TECHNICAL_ACCOUNT_ID = re.compile(r"[A-Za-z0-9._-]{1,64}@techacct\.adobe\.com")
_SANDBOX = re.compile(r"[A-Za-z0-9_-]{1,64}")
_METASCOPE_PREFIX = re.compile(r"\A(https://[^/]+)?/s/")
_FIELDS = frozenset(
    [
        "kind",
        "org_id",
        "client_id",
        "technical_account_id",
        "client_secrets",
        "private_key",
        "private_key_passphrase",
        "certificate",
        "ims_base_url",
        "sandbox",
        *(kind.scopes_field for kind in KINDS.values()),
        *(scheme.field for scheme in REMOTE_SCHEMES.values()),
    ]
)


def parse_credential(
    document: object, ref: CredentialRef, generation: str, allowed_base_urls: frozenset[str]
) -> Credential:
    """Parse a credential document.

    Args:
        document: The decoded JSON document.
        ref: The org and name of the path it was read from.
        generation: The version of the document in the store.
        allowed_base_urls: The allow-list of IMS hosts, each as `normal_ims_base_url` gives it.

    Raises:
        CredentialMisconfiguredError: A field is missing, unknown or malformed, or contradicts `ref`.

    """
    if not isinstance(document, Mapping):
        raise CredentialMisconfiguredError("document", "must be a JSON object")
    reader = _Reader(document)
    reader.refuse_unknown()
    kind = KINDS[reader.kind()]
    if reader.text("org_id") != ref.org:
        raise CredentialMisconfiguredError("org_id", "must equal the org of the document's path")
    technical_account_id = reader.optional("technical_account_id", _TECHNICAL_ACCOUNT_ID, "…@techacct.adobe.com")
    if kind.signs and technical_account_id is None:
        raise CredentialMisconfiguredError("technical_account_id", f"is required for kind {kind.kind}")
    return kind(
        ref=ref,
        generation=generation,
        client_id=reader.matching("client_id", _CLIENT_ID, "letters, digits, dots, hyphens or underscores"),
        client_secrets=reader.secrets(),
        scopes=reader.scopes(kind.scopes_field),
        technical_account_id=technical_account_id,
        ims_base_url=reader.base_url(allowed_base_urls),
        certificate=reader.pem("certificate"),
        sandbox=reader.optional("sandbox", _SANDBOX, "letters, digits, hyphens or underscores"),
        signing=reader.signing() if kind.signs else None,
    )


class _Reader:
    """Typed access to a document of unknown content."""

    def __init__(self, document: Mapping[object, object]) -> None:
        # An absent field and a null field mean the same, because consoles export both.
        self._values = {name: value for name, value in document.items() if value is not None}

    def refuse_unknown(self) -> None:
        """Refuse a misspelt field: its value may be a secret, and the real field would be missing."""
        if any(name not in _FIELDS for name in self._values):
            raise CredentialMisconfiguredError(
                "document", f"has an unknown field; the known fields are {', '.join(sorted(_FIELDS))}"
            )

    def kind(self) -> CredentialKind:
        try:
            return CredentialKind(self.text("kind"))
        except ValueError:
            raise CredentialMisconfiguredError("kind", f"must be one of {', '.join(CredentialKind)}") from None

    def text(self, name: str) -> str:
        value = self._required(name)
        if not isinstance(value, str) or not value.strip():
            raise CredentialMisconfiguredError(name, "must be a non-empty string")
        return value.strip()

    def _required(self, name: str) -> object:
        if name not in self._values:
            raise CredentialMisconfiguredError(name, "is required")
        return self._values[name]

    def optional_text(self, name: str) -> str | None:
        value = self._values.get(name)
        if value is not None and not isinstance(value, str):
            raise CredentialMisconfiguredError(name, "must be a string")
        return value

    def matching(self, name: str, pattern: re.Pattern[str], expected: str) -> str:
        value = self.text(name)
        if pattern.fullmatch(value) is None:
            raise CredentialMisconfiguredError(name, f"must be {expected}")
        return value

    def optional(self, name: str, pattern: re.Pattern[str], expected: str) -> str | None:
        return self.matching(name, pattern, expected) if name in self._values else None

    def secrets(self) -> tuple[str, ...]:
        value = self._required("client_secrets")
        if not isinstance(value, list) or len(value) not in {1, 2} or not all(_is_secret(item) for item in value):
            raise CredentialMisconfiguredError(
                "client_secrets", "must be a list of one or two strings of visible ASCII"
            )
        return tuple(value)

    def scopes(self, name: str) -> tuple[Scope, ...]:
        """A list of scopes; a metascope may be given as ``ent_x``, ``/s/ent_x`` or a full URL (docs/ims.md 4.1)."""
        value = self._required(name)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise CredentialMisconfiguredError(name, "must be a list of strings")
        try:
            return scopes_of(_METASCOPE_PREFIX.sub("", item.strip(), count=1) for item in value)
        except InvalidRequestError:
            raise CredentialMisconfiguredError(name, "must list 1 to 64 scopes of visible ASCII") from None

    def pem(self, name: str) -> str | None:
        """PEM text with LF line ends: the AEM Developer Console exports CRLF."""
        value = self.optional_text(name)
        if value is None:
            return None
        if "-----BEGIN " not in value:
            raise CredentialMisconfiguredError(name, "must be PEM text")
        return value.replace("\r\n", "\n").strip() + "\n"

    def signing(self) -> SigningKey:
        """The key that signs: the document has exactly one of ``private_key`` and the fields of remote signers."""
        stored = self.pem("private_key")
        remote = [
            RemoteKey(scheme, name)
            for scheme, known in REMOTE_SCHEMES.items()
            if (name := self.optional(known.field, known.name, known.expected)) is not None
        ]
        if len(remote) + (stored is not None) != 1:
            fields = " or ".join(known.field for known in REMOTE_SCHEMES.values())
            raise CredentialMisconfiguredError("private_key", f"give either private_key or {fields}, for kind jwt")
        passphrase = self.optional_text("private_key_passphrase")
        return StoredKey(stored, passphrase) if stored is not None else remote[0]

    def base_url(self, allowed: frozenset[str]) -> str:
        value = self.optional_text("ims_base_url") or DEFAULT_IMS_BASE_URL
        try:
            normal = normal_ims_base_url(value)
        except ValueError as error:
            raise CredentialMisconfiguredError("ims_base_url", str(error)) from None
        if normal not in allowed:
            subject = (
                "is" if "ims_base_url" in self._values else f"is missing, so it is {DEFAULT_IMS_BASE_URL}, which is"
            )
            raise CredentialMisconfiguredError("ims_base_url", f"{subject} not on the allow-list BROKER_IMS_BASE_URLS")
        return normal


def _is_secret(value: object) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 512 and value.isascii() and value.isprintable()
