"""The parsing of a credential's document (docs/contract.md section 2).

Every error names the defective field, never its value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.domain.adobe_file import adobe_file
from app.domain.app_document import CLIENT_FIELDS, StoredApp, app_reader, of_app
from app.domain.credential import KINDS, Credential, CredentialKind
from app.domain.document_reader import SEPARATORS, STORE_AS_JSON, DocumentReader, is_json_text
from app.domain.errors import InvalidRequestError
from app.domain.names import CredentialRef, Scope, scopes_of
from app.domain.pem import certificate_pem, private_key_pem
from app.domain.rfc3339 import parse_rfc3339
from app.domain.secret_rotation_state import CONSOLE_FIELDS
from app.domain.signing import REMOTE_SCHEMES, RemoteKey, SigningKey, StoredKey
from app.domain.tenant_errors import CredentialMisconfiguredError
from app.hosts import DEFAULT_IMS_BASE_URL, normal_ims_base_url

MAX_DOCUMENT_BYTES = 256 * 1024
NOT_ALLOWED = "not on the allow-list BROKER_IMS_BASE_URLS"
"""What is wrong with an IMS host that the setting does not name."""

_CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_TECHNICAL_ACCOUNT_ID = re.compile(r"[A-Za-z0-9._-]{1,64}@techacct\.adobe\.com")
_SANDBOX = re.compile(r"[A-Za-z0-9_-]{1,64}")
_METASCOPE_PREFIX = re.compile(r"\A(https://[^/]+)?/s/")
_FIELDS = frozenset(
    [
        "app",
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
        "not_before",
        *(kind.scopes_field for kind in KINDS.values()),
        *(scheme.field for scheme in REMOTE_SCHEMES.values()),
    ]
)
_IGNORED = frozenset(
    [
        *("technical_account_email", "id", "name", "integration_type", "ims_org_id", "email", "ok", "statusCode"),
        *CONSOLE_FIELDS,
    ]
)
"""Members of Adobe's own files that say nothing to the broker (docs/ims.md section 4), and those of a rotation."""


def parse_credential(
    document: object,
    ref: CredentialRef,
    generation: str,
    allowed_base_urls: frozenset[str],
    app: StoredApp | None = None,
) -> Credential:
    """Parse a credential document.

    Args:
        document: The decoded JSON document.
        ref: The org and name of the path it was read from.
        generation: The version of the document in the store.
        allowed_base_urls: The allow-list of IMS hosts, each as `normal_ims_base_url` gives it.
        app: The document of the app that this one names.

    Raises:
        CredentialMisconfiguredError: A field is missing, unknown or malformed, or contradicts `ref`. A defect of the
            app's document is one of the field ``app``.

    """
    if not isinstance(document, Mapping):
        found = (
            f"is a string that contains JSON; {STORE_AS_JSON}" if is_json_text(document) else "must be a JSON object"
        )
        raise CredentialMisconfiguredError("document", found)
    if (recognised := adobe_file(document)) is not None:
        raise CredentialMisconfiguredError("document", recognised)
    reader = DocumentReader(document)
    reader.refuse_unknown(_FIELDS, _IGNORED)
    kind = KINDS[_kind(reader)]
    if reader.text("org_id") != ref.org:
        raise CredentialMisconfiguredError("org_id", "must equal the org of the document's path")
    technical_account_id = reader.optional("technical_account_id", _TECHNICAL_ACCOUNT_ID, "…@techacct.adobe.com")
    if kind.signs and technical_account_id is None:
        raise CredentialMisconfiguredError("technical_account_id", f"is required for kind {kind.kind}")
    if reader.has("app"):
        client = _client_of_app(reader, kind, app, allowed_base_urls)
    else:
        client = _client(reader, kind.scopes_field, allowed_base_urls)
    return kind(
        ref=ref,
        generation=generation if app is None else f"{app.version}.{generation}",
        client_id=client.client_id,
        client_secrets=client.client_secrets,
        scopes=client.scopes,
        technical_account_id=technical_account_id,
        ims_base_url=client.ims_base_url,
        certificate=reader.pem("certificate", certificate_pem),
        sandbox=reader.optional("sandbox", _SANDBOX, "letters, digits, hyphens or underscores"),
        signing=_signing(reader) if kind.signs else None,
        app=None if app is None else (app.name, app.version),
        not_before=_not_before(reader),
    )


@dataclass(frozen=True, slots=True)
class _Client:
    """What an org's document has, or that of its app."""

    client_id: str
    client_secrets: tuple[str, ...] = field(repr=False)
    scopes: tuple[Scope, ...]
    ims_base_url: str


def _client(reader: DocumentReader, scopes_field: str, allowed_base_urls: frozenset[str]) -> _Client:
    return _Client(
        client_id=reader.matching("client_id", _CLIENT_ID, "letters, digits, dots, hyphens or underscores"),
        client_secrets=_secrets(reader),
        scopes=_scopes(reader, scopes_field),
        ims_base_url=_base_url(reader, allowed_base_urls),
    )


def _client_of_app(
    reader: DocumentReader, kind: type[Credential], app: StoredApp | None, allowed_base_urls: frozenset[str]
) -> _Client:
    if kind.kind is not CredentialKind.ENTERPRISE_WEB_APP:
        raise CredentialMisconfiguredError("app", f"is only for kind {CredentialKind.ENTERPRISE_WEB_APP}")
    for name in CLIENT_FIELDS:
        if reader.has(name):
            raise CredentialMisconfiguredError(name, "is in the document of the app; leave it out, or leave out app")
    if app is None:
        raise CredentialMisconfiguredError("app", "names a shared document, which is not read here")
    try:
        return _client(app_reader(app.content), kind.scopes_field, allowed_base_urls)
    except CredentialMisconfiguredError as error:
        raise of_app(error) from None


def _kind(reader: DocumentReader) -> CredentialKind:
    try:
        return CredentialKind(reader.text("kind"))
    except ValueError:
        raise CredentialMisconfiguredError("kind", f"must be one of {', '.join(CredentialKind)}") from None


def _secrets(reader: DocumentReader) -> tuple[str, ...]:
    """One or two secrets. A line end at the end of one is dropped: `echo` adds it."""
    secrets = [secret.rstrip("\r\n") for secret in reader.listed("client_secrets")]
    for index, secret in enumerate(secrets):
        if any(character.isspace() for character in secret):
            raise CredentialMisconfiguredError("client_secrets", f"has a blank or a line end in item {index + 1}")
    if len(secrets) not in {1, 2} or not all(map(_is_secret, secrets)):
        raise CredentialMisconfiguredError("client_secrets", "must be a list of one or two strings of visible ASCII")
    return tuple(secrets)


def _scopes(reader: DocumentReader, name: str) -> tuple[Scope, ...]:
    """A list of scopes; a metascope may be given as ``ent_x``, ``/s/ent_x`` or a full URL (docs/ims.md 4.1)."""
    try:
        items = [item for text in reader.listed(name) for item in SEPARATORS.split(text) if item]
        return scopes_of(_METASCOPE_PREFIX.sub("", item, count=1) for item in items)
    except InvalidRequestError:
        raise CredentialMisconfiguredError(name, "must list 1 to 64 scopes of visible ASCII") from None


def _signing(reader: DocumentReader) -> SigningKey:
    """The key that signs: the document has exactly one of ``private_key`` and the fields of remote signers."""
    stored = reader.pem("private_key", private_key_pem)
    remote = [
        RemoteKey(scheme, name)
        for scheme, known in REMOTE_SCHEMES.items()
        if (name := reader.optional(known.field, known.name, known.expected)) is not None
    ]
    fields = ["private_key", *(known.field for known in REMOTE_SCHEMES.values())]
    if not remote and stored is None:
        raise CredentialMisconfiguredError("private_key", f"is missing: kind jwt needs one of {', '.join(fields)}")
    if len(remote) + (stored is not None) > 1:
        raise CredentialMisconfiguredError("private_key", f"keep one of {', '.join(fields)}, and remove the rest")
    passphrase = reader.optional_text("private_key_passphrase")
    return StoredKey(stored, passphrase and passphrase.rstrip("\r\n")) if stored is not None else remote[0]


def _not_before(reader: DocumentReader) -> float | None:
    text = reader.optional_text("not_before")
    try:
        return None if text is None else parse_rfc3339(text)
    except ValueError as error:
        raise CredentialMisconfiguredError("not_before", str(error)) from None


def _base_url(reader: DocumentReader, allowed: frozenset[str]) -> str:
    given = reader.optional_text("ims_base_url")
    try:
        url = normal_ims_base_url(given or DEFAULT_IMS_BASE_URL)
    except ValueError as error:
        raise CredentialMisconfiguredError("ims_base_url", str(error)) from None
    if url not in allowed:
        subject = "is" if given else f"is missing, so it is {DEFAULT_IMS_BASE_URL}, which is"
        raise CredentialMisconfiguredError("ims_base_url", f"{subject} {NOT_ALLOWED}")
    return url


def _is_secret(value: str) -> bool:
    return 1 <= len(value) <= 512 and value.isascii() and value.isprintable()
