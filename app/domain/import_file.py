"""A file to import, from its bytes to a complete document."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.domain.adobe_import import OWN, ImportFileError, drafts_of
from app.domain.app_import import org_and_client
from app.domain.errors import InvalidRequestError
from app.domain.import_options import ImportOptions, document_of
from app.domain.key_move import KeyToMove, key_taken_out
from app.domain.names import CredentialName, CredentialRef, parse_org
from app.domain.strict_json import strict_json

AN_ORG, AN_APP = "the id of an org", "the client of an app"

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class ImportInput:
    """A credential that may be imported.

    Args:
        source: What the file is, for a sentence.
        ref: The credential.
        document: Its document, complete.
        whole: Whether the file was a document of the broker, so that nothing is added to it.
        notes: What a person should know.
        key: A private key that is to be moved to a remote signer; None if there is none.
        client: The document of its app, if the file has it.

    """

    source: str
    ref: CredentialRef
    document: dict[str, object] = field(repr=False)
    whole: bool
    notes: tuple[str, ...] = ()
    key: KeyToMove | None = None
    client: dict[str, object] | None = field(repr=False, default=None)

    @property
    def has_private_key(self) -> bool:
        """Whether the operator gave a private key, which the document holds or which is to be moved."""
        return self.key is not None or "private_key" in self.document


def parse_import(content: bytes, name: CredentialName, options: ImportOptions) -> ImportInput:
    """The credential in the bytes of a file.

    Args:
        content: The file; the caller limits its length.
        name: The name that the credential is to have.
        options: What the operator gives besides it.

    Raises:
        ImportFileError: The file cannot be used.

    """
    try:
        decoded = strict_json(content.removeprefix(_BYTE_ORDER_MARK))
    except ValueError as error:
        raise ImportFileError(f"is not a JSON file: {error}") from None
    if options.app is not None:
        document, client = org_and_client(decoded, options)
        source = AN_ORG if client is None else AN_APP
        return ImportInput(source, _ref(document, name), document, whole=False, client=client)
    drafts = drafts_of(decoded)
    document = document_of(drafts, options)
    ref = _ref(document, name)
    document, key = key_taken_out(document) if options.transit_key is not None else (document, None)
    source = drafts[0].source
    notes = () if len(drafts) == 1 else (f"The file has {len(drafts)} credentials; kind {document['kind']} was taken.",)
    return ImportInput(source, ref, document, source == OWN, notes, key)


def _ref(document: Mapping[str, object], name: CredentialName) -> CredentialRef:
    try:
        return CredentialRef(parse_org(str(document["org_id"])), name)
    except InvalidRequestError:
        raise ImportFileError("has a defect in org_id: must be 24 letters or digits, then @AdobeOrg") from None


def input_digest(content: bytes, name: CredentialName, options: ImportOptions) -> str:
    """The SHA-256 of everything that `parse_import` would read, in hex: the same input gives the same document."""
    options_text = (options.org, options.client_id, options.private_key, options.passphrase)
    parts = [name, *options_text, options.certificate, options.transit_key, options.app, options.ims_base_url]
    digest = hashlib.sha256(content)
    for part in parts:
        # Each part is hashed on its own, so that two parts cannot be cut in another place.
        digest.update(hashlib.sha256(b"" if part is None else part.encode(errors="replace")).digest())
    return digest.hexdigest()
