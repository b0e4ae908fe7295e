"""Recognises the files that Adobe's consoles and tools hand out (docs/ims.md section 4)."""

from __future__ import annotations

from collections.abc import Mapping

_COMMAND = "`ims-token-broker org import FILE` turns it into a document of the broker"

_MEMBERS = ({"client_id", "technical_account_email"}, {"client_id", "meta_scopes"})
_CONTEXT = {"client_id", "ims_org_id"}


def adobe_file(document: Mapping[object, object]) -> str | None:
    """What a document is that Adobe made, as the end of a sentence with the remedy; None if it is not recognised.

    Args:
        document: The decoded JSON object.

    """
    if "accessToken" in document and "kind" not in document:
        return "is a local development token of AEM, not a credential; download the service credentials instead"
    name = _name(document)
    return None if name is None else f"is {name}; {_COMMAND}"


def _name(document: Mapping[object, object]) -> str | None:
    if isinstance(document.get("integration"), Mapping) or {"technicalAccount", "imsEndpoint"} <= document.keys():
        return "the service credentials of the AEM Developer Console"
    if isinstance(document.get("project"), Mapping) or "workspace" in document:
        return "a project downloaded from the Adobe Developer Console"
    if isinstance(document.get("values"), list):
        return "a Postman environment of the Adobe Developer Console"
    if "oauth_server_to_server" in document or isinstance(document.get("jwt"), Mapping):
        return "a credential out of a project of the Adobe Developer Console"
    if "kind" in document:
        return None
    if {"CLIENT_ID", "ORG_ID"} <= document.keys() or {"API_KEY", "TECHNICAL_ACCOUNT_ID"} <= document.keys():
        return "a credential downloaded from the Adobe Developer Console"
    if (
        document.keys() >= _CONTEXT
        or {"clientId", "orgId"} <= document.keys()
        or {"clientId", "clientSecret"} <= document.keys()
        or "ims" in document
    ):
        return "a context of the aio command line"
    if "org_id" not in document and any(document.keys() >= member for member in _MEMBERS):
        return "a credential out of a project of the Adobe Developer Console"
    return None
