"""Says of a defect that it is in the file that a person gave, not in what is stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.domain.adobe_import import ImportFileError
from app.domain.credential_document import NOT_ALLOWED
from app.domain.import_file import ImportInput
from app.domain.tenant_errors import CredentialMisconfiguredError
from app.hosts import DEFAULT_IMS_BASE_URL


@contextmanager
def defects_of_file(given: ImportInput) -> Iterator[None]:
    """Turn a defect of a document that was made from a file into one of the file.

    Raises:
        ImportFileError: The document is defective.

    """
    try:
        yield
    except CredentialMisconfiguredError as error:
        if error.field == "private_key_passphrase":
            raise ImportFileError(
                f"has an encrypted private key, and its passphrase {error.expected.partition(',')[0]};"
                " give --passphrase-file FILE"
            ) from None
        if error.expected.endswith(NOT_ALLOWED):
            raise ImportFileError(_host_not_allowed(given)) from None
        raise ImportFileError(f"has a defect in {error.field}: {error.expected}") from None


def _host_not_allowed(given: ImportInput) -> str:
    # The host may come from --ims-base-url, and then the file is in order.
    named = {**(given.client or {}), **given.document}.get("ims_base_url")
    host = named or f"{DEFAULT_IMS_BASE_URL} (the default)"
    return (
        f"cannot be used with the IMS host {host}, which is {NOT_ALLOWED};"
        " add it to that setting, or give --ims-base-url with a host that is there"
    )
