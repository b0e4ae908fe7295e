"""Imports an org that uses the client of an app: its document names the app, whose own document has the client."""

from __future__ import annotations

from collections.abc import Mapping

from app.domain.adobe_import import ImportFileError, drafts_of
from app.domain.app_document import CLIENT_FIELDS
from app.domain.credential import CredentialKind
from app.domain.import_options import ImportOptions, chosen_draft, refuse_incomplete
from app.domain.secret_rotation_state import CONSOLE_FIELDS

_ORG_FIELDS = {"org_id", "ims_org_id", "kind", "app", "technical_account_id", "sandbox"}
"""What a file has that only says which org: no client."""

_ORG_ONLY = ("technical_account_id", "sandbox")
"""Fields of the org's own document, besides its id."""


def org_and_client(decoded: object, options: ImportOptions) -> tuple[dict[str, object], dict[str, object] | None]:
    """The document of an org, and that of its app; None if the file has no client.

    Args:
        decoded: The decoded JSON document: a file with a client, or an object with the org's id alone.
        options: What the operator gives besides it. ``org`` takes the place of the file's, which is the app's own org.

    Raises:
        ImportFileError: Something is missing.

    """
    if isinstance(decoded, Mapping) and decoded.keys() <= _ORG_FIELDS:
        fields: dict[object, object] = dict(decoded)
        client = None
    else:
        draft = chosen_draft(drafts_of(decoded), options)
        if draft.kind == CredentialKind.JWT:
            raise ImportFileError("has a service account (JWT); an app needs a client id and secret")
        fields = dict(draft.fields.items())
        client = _client(draft.fields, options)
    org = options.org or fields.get("org_id") or fields.get("ims_org_id")
    if org is None:
        raise ImportFileError("has no org id; give --org ORG")
    kept = {name: fields[name] for name in _ORG_ONLY if client is None and fields.get(name) is not None}
    document = {"kind": CredentialKind.ENTERPRISE_WEB_APP.value, "org_id": org, "app": options.app, **kept}
    return document, client


def _client(fields: Mapping[str, object], options: ImportOptions) -> dict[str, object]:
    refuse_incomplete(fields, ("client_id", "client_secrets", "scopes"))
    client = {name: fields[name] for name in (*CLIENT_FIELDS, *CONSOLE_FIELDS) if fields.get(name) is not None}
    return client if options.ims_base_url is None else {**client, "ims_base_url": options.ims_base_url}
