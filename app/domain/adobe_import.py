"""Turns what Adobe's consoles and tools hand out into documents of the broker (docs/ims.md section 4).

A file may have several credentials, and a credential may lack what Adobe does not put into its file. So the result is a
list of drafts; `app.domain.import_options` completes one of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from app.domain.adobe_file import NO_CREDENTIAL, AdobeFile, recognised
from app.domain.credential import CredentialKind
from app.domain.document_reader import SEPARATORS, is_json_text
from app.domain.secret_rotation_state import CONSOLE_CREDENTIAL_FIELD, CONSOLE_ORG_FIELD, ConsoleIds
from app.domain.strict_json import strict_json
from app.hosts import STAGE_IMS_BASE_URL

Members = Mapping[object, object]

OWN = "a document of the broker"

_NAMES = {
    "clientid": "client_id",
    "apikey": "client_id",
    "clientsecret": "client_secrets",
    "clientsecrets": "client_secrets",
    "orgid": "org_id",
    "imsorgid": "org_id",
    "imsorg": "org_id",
    "technicalaccountid": "technical_account_id",
    "metascopes": "metascopes",
    "metascope": "metascopes",
    "scopes": "scopes",
    "scope": "scopes",
    "privatekey": "private_key",
    "passphrase": "private_key_passphrase",
    "privatekeypassphrase": "private_key_passphrase",
    "certificate": "certificate",
    "ims": "ims_base_url",
    "imsendpoint": "ims_base_url",
    "imsbaseurl": "ims_base_url",
}
"""The field of a document for each name that Adobe's tools use, without its capitals, hyphens and underscores."""

_SIGNING = ("metascopes", "private_key", "private_key_passphrase", "certificate")
"""The fields that only documents of kind ``jwt`` have."""

_WRAPPERS = {
    "oauth_server_to_server": CredentialKind.OAUTH_SERVER_TO_SERVER,
    "oauth_sts": CredentialKind.OAUTH_SERVER_TO_SERVER,
    "jwt": CredentialKind.JWT,
}
"""The members of a credential that have the fields of one flow."""


class ImportFileError(ValueError):
    """A file cannot be imported. Nothing was written. The text is the end of a sentence, and quotes no value."""


@dataclass(frozen=True, slots=True)
class Draft:
    """One credential of a file.

    Args:
        source: What the file is, for a sentence.
        fields: The fields of the broker's document that the file has.

    """

    source: str
    fields: Mapping[str, object] = field(repr=False)

    @property
    def kind(self) -> object:
        """Its kind; unverified in a document of the broker."""
        return self.fields.get("kind")

    @property
    def client_id(self) -> str | None:
        """Its client id, unverified; None if that is not text."""
        value = self.fields.get("client_id")
        return value if isinstance(value, str) else None


def drafts_of(document: object) -> tuple[Draft, ...]:
    """The credentials of a file that need no user to log in, in the order of the file.

    Args:
        document: The decoded JSON document.

    Raises:
        ImportFileError: It is not a file of Adobe or of the broker, or has no such credential.

    """
    if not isinstance(document, Mapping):
        raise ImportFileError("is JSON, but not an object: give the whole file as it was downloaded")
    name = recognised(document)
    if name is AdobeFile.LOCAL_TOKEN:
        raise ImportFileError(NO_CREDENTIAL)
    if name is None:
        return (_own(document),)
    found = tuple(Draft(name, fields) for fields in _found(name, document))
    if not found:
        raise ImportFileError(
            f"is {name}, but has no server-to-server credential; add one in the console, and download it again"
        )
    return found


def _own(document: Members) -> Draft:
    if "kind" not in document:
        raise ImportFileError(
            "is neither a file of the Adobe Developer Console, the AEM Developer Console or aio, nor a document of the"
            " broker (which has the field kind)"
        )
    return Draft(OWN, {name: value for name, value in document.items() if isinstance(name, str) and value is not None})


def _found(name: AdobeFile, document: Members) -> Iterator[dict[str, object]]:
    match name:
        case AdobeFile.AEM:
            yield _aem(_object(document, "integration") or document)
        case AdobeFile.PROJECT:
            yield from _project(_object(document, "project") or document)
        case AdobeFile.POSTMAN:
            yield from _credential(_postman(document))
        case AdobeFile.CONTEXT if "ims" in document and not _has_client(document):
            ims = _object(document, "ims")
            for context in (_object(ims, "contexts") or ims).values():
                if isinstance(context, Mapping):
                    yield from _credential(context)
        case _:
            yield from _credential(document)


def _aem(integration: Members) -> dict[str, object]:
    account = _object(integration, "technicalAccount")
    fields = {
        "kind": CredentialKind.JWT.value,
        "org_id": integration.get("org"),
        "client_id": account.get("clientId"),
        "client_secrets": _listed(account.get("clientSecret"), whole=True),
        "technical_account_id": integration.get("id"),
        "metascopes": _listed(integration.get("metascopes")),
        "private_key": integration.get("privateKey"),
        "certificate": integration.get("publicKey"),
        "ims_base_url": integration.get("imsEndpoint"),
    }
    return _present(fields)


def _project(project: Members) -> Iterator[dict[str, object]]:
    org = _object(project, "org")
    credentials = _object(_object(project, "workspace"), "details").get("credentials")
    for credential in credentials if isinstance(credentials, list) else []:
        if isinstance(credential, Mapping):
            numbers = _console_ids(org.get("id"), credential.get("id"))
            for fields in _credential({"ims_org_id": org.get("ims_org_id"), **credential}):
                yield {**fields, **numbers} if fields["kind"] == CredentialKind.OAUTH_SERVER_TO_SERVER else fields


def _console_ids(org: object, credential: object) -> dict[str, object]:
    """The numbers of the console, with which secrets can be rotated; none if one is missing or odd."""
    try:
        ids = ConsoleIds(str(org), str(credential))
    except ValueError:
        return {}
    return {CONSOLE_ORG_FIELD: ids.org, CONSOLE_CREDENTIAL_FIELD: ids.credential}


def _postman(document: Members) -> dict[object, object]:
    values = document.get("values")
    rows = [row for row in values if isinstance(row, Mapping)] if isinstance(values, list) else []
    # Postman exports a variable without a value as an empty string.
    return {row["key"]: row.get("value") for row in rows if isinstance(row.get("key"), str) and row.get("value") != ""}


def _credential(members: Members) -> Iterator[dict[str, object]]:
    """The flows of one credential: two while Adobe migrates it, none if a user has to log in."""
    wrapped = [name for name in _WRAPPERS if isinstance(members.get(name), Mapping)]
    outer: dict[object, object] = {
        name: value for name, value in members.items() if name in {"ims_org_id", "org_id", "env"}
    }
    for name in wrapped:
        yield _flat({**outer, **_object(members, name)}, _WRAPPERS[name])
    if not wrapped and _has_client(members):
        yield _flat(members, _kind_of(members))


def _has_client(members: Members) -> bool:
    fields = {_NAMES.get(_plain(name)) for name in members}
    return "client_id" in fields and bool(fields & {"client_secrets", "scopes", "metascopes", "technical_account_id"})


def _kind_of(members: Members) -> CredentialKind:
    """The kind that the names of the members suggest: scopes are those of OAuth, metascopes and keys those of JWT."""
    fields = {_NAMES.get(_plain(name)) for name in members}
    signs = "scopes" not in fields and bool(fields & {"metascopes", "private_key"})
    return CredentialKind.JWT if signs else CredentialKind.OAUTH_SERVER_TO_SERVER


def _flat(members: Members, kind: CredentialKind) -> dict[str, object]:
    fields: dict[str, object] = {"kind": kind.value}
    if members.get("env") == "stage":
        fields["ims_base_url"] = STAGE_IMS_BASE_URL
    for name, value in members.items():
        known = _NAMES.get(_plain(name))
        if known is not None and not isinstance(value, Mapping):
            fields[known] = value
    unused = ("scopes",) if kind is CredentialKind.JWT else _SIGNING
    for name in ("client_secrets", "scopes", "metascopes"):
        fields[name] = _listed(fields.get(name), whole=name == "client_secrets")
    return _present({name: value for name, value in fields.items() if name not in unused})


def _listed(value: object, *, whole: bool = False) -> object:
    """A list out of text; `whole` text is one item. aio keeps lists as JSON text in its variables."""
    if not isinstance(value, str):
        return value
    if is_json_text(value):
        try:
            return strict_json(value.encode(errors="replace"))
        except ValueError:
            return value
    if whole:
        return [value] if value.strip() else None
    return [item for item in SEPARATORS.split(value) if item]


def _present(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value not in (None, "", [])}


def _plain(name: object) -> str:
    return name.lower().replace("_", "").replace("-", "") if isinstance(name, str) else ""


def _object(members: Members, name: str) -> Members:
    value = members.get(name)
    return value if isinstance(value, Mapping) else {}
