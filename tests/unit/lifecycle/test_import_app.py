"""The app whose client an org uses, while the org is imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.adapters.directory import DirectoryDocuments
from app.domain.adobe_import import ImportFileError
from app.domain.app_document import AppName, app_path
from app.domain.import_file import ImportInput
from app.lifecycle.import_app import AppImport
from tests.support.documents import app_document, app_org_document, ref_of

REF = ref_of(1)
IDS = {"console_org_id": "1", "console_credential_id": "2"}


async def test_the_numbers_of_the_console_make_no_other_client(tmp_path: Path) -> None:
    """The numbers of the console make no difference to which client a file has; another secret does."""
    documents = DirectoryDocuments(tmp_path)
    apps = AppImport(documents)
    for name, stored, file in (("one", {}, IDS), ("two", IDS, {})):
        await documents.write(app_path(AppName(name)), app_document(**stored), None)
        found = await apps.find(_given(name, app_document(**file)))
        assert found is not None
        assert found.new is None
        with pytest.raises(ImportFileError, match="another client or other secrets"):
            await apps.find(_given(name, app_document(client_secrets=["p8e-another"])))


def _given(app: str, client: dict[str, object]) -> ImportInput:
    return ImportInput("a file", REF, app_org_document(REF, app), False, client=client)
