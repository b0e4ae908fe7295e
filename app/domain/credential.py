"""A tenant's credential as a tagged union of three kinds, and the parsing of its document.

The fields are those of the product's section 2; every defect names its field, never its value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from app.domain.errors import CredentialMisconfiguredError, InvalidRequestError
from app.domain.names import CredentialRef, Scope, scopes_of

DEFAULT_IMS_BASE_URL = "https://ims-na1.adobelogin.com"
MAX_DOCUMENT_BYTES = 256 * 1024

_CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_TECHNICAL_ACCOUNT_ID = re.compile(r"[A-Za-z0-9._-]{1,64}@techacct\.adobe\.com")
_SANDBOX = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TRANSIT_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_METASCOPE_PREFIX = re.compile(r"\A(https://[^/]+)?/s/")
_FIELDS = frozenset(
    [
        "kind",
        "org_id",
        "client_id",
        "technical_account_id",
        "client_secrets",
        "scopes",
        "metascopes",
        "private_key",
        "private_key_passphrase",
        "transit_key",
        "certificate",
        "ims_base_url",
        "sandbox",
    ]
)


class CredentialKind(StrEnum):
    """Which flow a credential uses."""

    JWT = "jwt"
    OAUTH_SERVER_TO_SERVER = "oauth_server_to_server"
    ENTERPRISE_WEB_APP = "enterprise_web_app"


@dataclass(frozen=True, slots=True, kw_only=True)
class _CredentialFields:
    """What all kinds have."""

    ref: CredentialRef
    generation: str
    client_id: str
    client_secrets: tuple[str, ...] = field(repr=False)
    scopes: tuple[Scope, ...]
    technical_account_id: str | None
    ims_base_url: str
    certificate: str | None = field(repr=False)
    sandbox: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtCredential(_CredentialFields):
    """Service account: a signed assertion is exchanged at ``/ims/exchange/jwt``. `scopes` are its metascopes."""

    kind: ClassVar[CredentialKind] = CredentialKind.JWT
    technical_account_id: str
    private_key: str | None = field(repr=False)
    private_key_passphrase: str | None = field(repr=False)
    transit_key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthServerToServerCredential(_CredentialFields):
    """Client credentials at ``/ims/token/v3``."""

    kind: ClassVar[CredentialKind] = CredentialKind.OAUTH_SERVER_TO_SERVER


@dataclass(frozen=True, slots=True, kw_only=True)
class EnterpriseWebAppCredential(_CredentialFields):
    """Client credentials plus ``org_id``: one client for many consenting orgs."""

    kind: ClassVar[CredentialKind] = CredentialKind.ENTERPRISE_WEB_APP


Credential = JwtCredential | OAuthServerToServerCredential | EnterpriseWebAppCredential


def parse_credential(
    document: object, ref: CredentialRef, generation: str, allowed_base_urls: frozenset[str]
) -> Credential:
    """Parse a credential document.

    Args:
        document: The decoded JSON document.
        ref: The org and name of the path it was read from.
        generation: Its version in the store.
        allowed_base_urls: The allow-list of IMS hosts, without trailing slashes.

    Raises:
        CredentialMisconfiguredError: A field is missing, unknown or malformed, or contradicts `ref`.

    """
    if not isinstance(document, Mapping):
        raise CredentialMisconfiguredError("document", "must be a JSON object")
    reader = _Reader(document)
    reader.refuse_unknown()
    kind = reader.kind()
    if reader.text("org_id") != ref.org:
        raise CredentialMisconfiguredError("org_id", "must equal the org of the document's path")
    technical_account_id = reader.optional("technical_account_id", _TECHNICAL_ACCOUNT_ID, "…@techacct.adobe.com")
    common = _CredentialFields(
        ref=ref,
        generation=generation,
        client_id=reader.matching("client_id", _CLIENT_ID, "letters, digits, dots, hyphens or underscores"),
        client_secrets=reader.secrets(),
        scopes=reader.scopes("metascopes" if kind is CredentialKind.JWT else "scopes"),
        technical_account_id=technical_account_id,
        ims_base_url=reader.base_url(allowed_base_urls),
        certificate=reader.pem("certificate"),
        sandbox=reader.optional("sandbox", _SANDBOX, "letters, digits, hyphens or underscores"),
    )
    fields = {name: getattr(common, name) for name in _CredentialFields.__dataclass_fields__}
    match kind:
        case CredentialKind.OAUTH_SERVER_TO_SERVER:
            return OAuthServerToServerCredential(**fields)
        case CredentialKind.ENTERPRISE_WEB_APP:
            return EnterpriseWebAppCredential(**fields)
        case CredentialKind.JWT:
            return _jwt_credential(reader, fields)


def _jwt_credential(reader: _Reader, fields: dict[str, object]) -> JwtCredential:
    if fields["technical_account_id"] is None:
        raise CredentialMisconfiguredError("technical_account_id", "is required for kind jwt")
    private_key = reader.pem("private_key")
    transit_key = reader.optional("transit_key", _TRANSIT_KEY, "the name of a Vault transit key")
    if (private_key is None) == (transit_key is None):
        raise CredentialMisconfiguredError("private_key", "give either private_key or transit_key, for kind jwt")
    return JwtCredential(
        **fields,  # type: ignore[arg-type]  # the fields of the shared base, read back by name
        private_key=private_key,
        private_key_passphrase=reader.optional_text("private_key_passphrase"),
        transit_key=transit_key,
    )


class _Reader:
    """Typed access to a document of unknown content."""

    def __init__(self, document: Mapping[object, object]) -> None:
        # An absent field and a null one mean the same: consoles export both.
        self._values = {name: value for name, value in document.items() if value is not None}

    def refuse_unknown(self) -> None:
        """A misspelt field must not be ignored: its value may be a secret that nobody then misses."""
        if any(name not in _FIELDS for name in self._values):
            raise CredentialMisconfiguredError(
                "document", f"has an unknown field; known are {', '.join(sorted(_FIELDS))}"
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
        """A list of scopes; a metascope may be ``ent_x``, ``/s/ent_x`` or a full URL (docs/ims.md section 4.1)."""
        value = self._required(name)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise CredentialMisconfiguredError(name, "must be a list of strings")
        try:
            return scopes_of(_METASCOPE_PREFIX.sub("", item.strip(), count=1) for item in value)
        except InvalidRequestError:
            raise CredentialMisconfiguredError(name, "must list 1 to 64 scopes of visible ASCII") from None

    def pem(self, name: str) -> str | None:
        """PEM text with LF line ends; CRLF comes from the AEM Developer Console."""
        value = self.optional_text(name)
        if value is None:
            return None
        if "-----BEGIN " not in value:
            raise CredentialMisconfiguredError(name, "must be PEM text")
        return value.replace("\r\n", "\n").strip() + "\n"

    def base_url(self, allowed: frozenset[str]) -> str:
        value = (self.optional_text("ims_base_url") or DEFAULT_IMS_BASE_URL).strip().rstrip("/")
        if value not in allowed:
            subject = (
                "is" if "ims_base_url" in self._values else f"is left out, so it is {DEFAULT_IMS_BASE_URL}, which is"
            )
            raise CredentialMisconfiguredError("ims_base_url", f"{subject} not on the allow-list BROKER_IMS_BASE_URLS")
        return value


def _is_secret(value: object) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 512 and value.isascii() and value.isprintable()
