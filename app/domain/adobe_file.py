"""Recognises the files that Adobe's consoles and tools hand out (docs/ims.md section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

_COMMAND = "`ims-token-broker org import FILE` turns it into a document of the broker"

_MEMBERS = ({"client_id", "technical_account_email"}, {"client_id", "meta_scopes"})
_CONTEXT = {"client_id", "ims_org_id"}


class AdobeFile(StrEnum):
    """What Adobe hands out. The value is the name of the file in a sentence."""

    AEM = "the service credentials of the AEM Developer Console"
    PROJECT = "a project downloaded from the Adobe Developer Console"
    CREDENTIAL = "a credential out of a project of the Adobe Developer Console"
    DOWNLOAD = "a credential downloaded from the Adobe Developer Console"
    POSTMAN = "a Postman environment of the Adobe Developer Console"
    CONTEXT = "a context of the aio command line"
    LOCAL_TOKEN = "a local development token of AEM"


NO_CREDENTIAL = f"is {AdobeFile.LOCAL_TOKEN}, not a credential; download the service credentials instead"
"""What is wrong with `AdobeFile.LOCAL_TOKEN`, as the end of a sentence."""


def adobe_file(document: Mapping[object, object]) -> str | None:
    """What a document is that Adobe made, as the end of a sentence with the remedy; None if it is not recognised.

    Args:
        document: The decoded JSON object.

    """
    match recognised(document):
        case None:
            return None
        case AdobeFile.LOCAL_TOKEN:
            return NO_CREDENTIAL
        case name:
            return f"is {name}; {_COMMAND}"


def recognised(document: Mapping[object, object]) -> AdobeFile | None:
    """Which of Adobe's files a document is; None for one of the broker's own, or an unknown one.

    Args:
        document: The decoded JSON object.

    """
    if "accessToken" in document and "kind" not in document:
        return AdobeFile.LOCAL_TOKEN
    if isinstance(document.get("integration"), Mapping) or {"technicalAccount", "imsEndpoint"} <= document.keys():
        return AdobeFile.AEM
    if isinstance(document.get("project"), Mapping) or "workspace" in document:
        return AdobeFile.PROJECT
    if isinstance(document.get("values"), list):
        return AdobeFile.POSTMAN
    if "oauth_server_to_server" in document or isinstance(document.get("jwt"), Mapping):
        return AdobeFile.CREDENTIAL
    return None if "kind" in document else _flat(document)


def _flat(document: Mapping[object, object]) -> AdobeFile | None:
    """Which file it is, by the names of its members alone."""
    if {"CLIENT_ID", "ORG_ID"} <= document.keys() or {"API_KEY", "TECHNICAL_ACCOUNT_ID"} <= document.keys():
        return AdobeFile.DOWNLOAD
    if (
        document.keys() >= _CONTEXT
        or {"clientId", "orgId"} <= document.keys()
        or {"clientId", "clientSecret"} <= document.keys()
        or "ims" in document
        or isinstance(document.get("oauth_sts"), Mapping)
    ):
        return AdobeFile.CONTEXT
    if "org_id" not in document and any(document.keys() >= member for member in _MEMBERS):
        return AdobeFile.CREDENTIAL
    return None
