"""What every credential store does: the directory, and a real Vault."""

from __future__ import annotations

import base64
import itertools
import json
import traceback
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from app.adapters.directory import DirectoryCredentialStore
from app.adapters.vault import VaultConfig, VaultCredentialStore, VaultSession
from app.domain.credential import JwtCredential, OAuthServerToServerCredential
from app.domain.credential_document import MAX_DOCUMENT_BYTES
from app.domain.names import CredentialRef
from app.domain.signing import StoredKey
from app.domain.tenant_errors import CredentialMisconfiguredError, CredentialNotFoundError
from app.hosts import DEFAULT_IMS_BASE_URL
from app.ports import CredentialStore
from tests.support.documents import ALLOWED, CANARY, SECRET, jwt_document, oauth_document, ref_of
from tests.support.keys import key_pair
from tests.support.recorded_events import RecordedEvents
from tests.support.vault_server import MOUNT, PREFIX, VaultServer

_numbers = itertools.count(0xC0000)


class WritableStore(Protocol):
    """A store whose content a test can change."""

    @property
    def store(self) -> CredentialStore:
        """The store."""

    def put(self, ref: CredentialRef, document: Mapping[str, object]) -> None:
        """Store a document."""

    def remove(self, ref: CredentialRef) -> None:
        """Remove a document."""


class KeptInDirectory:
    """Documents as files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.store = DirectoryCredentialStore(directory, ALLOWED)

    def put(self, ref: CredentialRef, document: Mapping[str, object]) -> None:
        """Store a document."""
        path = self._path(ref)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(document))

    def remove(self, ref: CredentialRef) -> None:
        """Remove a document."""
        self._path(ref).unlink()

    def _path(self, ref: CredentialRef) -> Path:
        return self._directory / ref.org / f"{ref.name}.json"


class KeptInVault:
    """Documents in Vault."""

    def __init__(self, server: VaultServer, session: VaultSession) -> None:
        self._server = server
        self.store = VaultCredentialStore(session, MOUNT, PREFIX, ALLOWED)

    def put(self, ref: CredentialRef, document: Mapping[str, object]) -> None:
        """Store a document."""
        self._server.put(ref.org, ref.name, document)

    def remove(self, ref: CredentialRef) -> None:
        """Remove a document."""
        self._server.remove(ref.org, ref.name)


@pytest.fixture(params=["directory", "vault"])
async def kept(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[WritableStore]:
    """Each kind of store in turn."""
    if request.param == "directory":
        directory = KeptInDirectory(tmp_path)
        yield directory
        await directory.store.aclose()
        return
    server: VaultServer = request.getfixturevalue("vault_server")
    token = server.token(server.reader_policy())
    session = VaultSession(VaultConfig(addr=server.addr, token=token), RecordedEvents())
    yield KeptInVault(server, session)
    await session.aclose()


@pytest.fixture
def ref() -> CredentialRef:
    """A reference that no other test uses, because all tests share one Vault."""
    return ref_of(next(_numbers))


class TestCredentialStore:
    """The contract."""

    async def test_a_stored_credential_is_read(self, kept: WritableStore, ref: CredentialRef) -> None:
        """A stored credential is read with all its fields."""
        kept.put(ref, jwt_document(ref, sandbox="dev"))
        credential = await kept.store.fetch(ref)
        assert isinstance(credential, JwtCredential)
        assert (credential.ref, credential.sandbox) == (ref, "dev")
        assert credential.signing == StoredKey(str(jwt_document(ref)["private_key"]))

    async def test_a_missing_credential_is_not_found(self, kept: WritableStore, ref: CredentialRef) -> None:
        """Nothing is found for an org without credentials, or for another name in an org that has one."""
        with pytest.raises(CredentialNotFoundError):
            await kept.store.fetch(ref)
        kept.put(ref, oauth_document(ref))
        with pytest.raises(CredentialNotFoundError):
            await kept.store.fetch(CredentialRef(ref.org, ref_of(0, "other").name))

    async def test_a_removed_credential_is_not_found(self, kept: WritableStore, ref: CredentialRef) -> None:
        """A removed credential is no longer found or listed."""
        kept.put(ref, oauth_document(ref))
        assert ref in await kept.store.refs()
        kept.remove(ref)
        with pytest.raises(CredentialNotFoundError):
            await kept.store.fetch(ref)
        assert ref not in await kept.store.refs()

    async def test_a_converted_credential_has_its_new_kind(self, kept: WritableStore, ref: CredentialRef) -> None:
        """A credential converted in place is read as its new kind, with a new generation."""
        kept.put(ref, jwt_document(ref))
        before = await kept.store.fetch(ref)
        kept.put(ref, oauth_document(ref))
        after = await kept.store.fetch(ref)
        assert isinstance(after, OAuthServerToServerCredential)
        assert after.generation != before.generation

    async def test_an_unchanged_credential_keeps_its_generation(self, kept: WritableStore, ref: CredentialRef) -> None:
        """A document that has not changed keeps its generation."""
        kept.put(ref, oauth_document(ref))
        assert await kept.store.fetch(ref) == await kept.store.fetch(ref)

    async def test_all_references_are_listed(self, kept: WritableStore, ref: CredentialRef) -> None:
        """All credentials of all orgs are listed, sorted."""
        other = CredentialRef(ref.org, ref_of(0, "another").name)
        for each in (ref, other):
            kept.put(each, oauth_document(each))
        listed = await kept.store.refs()
        assert [each for each in listed if each.org == ref.org] == [other, ref]
        assert list(listed) == sorted(listed)

    async def test_an_untidy_document_is_read_as_its_tidy_form(self, kept: WritableStore, ref: CredentialRef) -> None:
        """Strings for lists, line ends and spellings that tools leave behind do not change the credential."""
        untidy = {
            "client_secrets": f"{SECRET}\n",
            "metascopes": "ent_a,ent_b",
            "private_key": base64.b64encode(key_pair().pkcs1_crlf.encode()).decode(),
            "ims_base_url": "IMS-NA1.adobelogin.com:443",
            "technical_account_email": "0@techacct.adobe.com",
        }
        kept.put(ref, jwt_document(ref, **untidy))
        credential = await kept.store.fetch(ref)
        assert (credential.client_secrets, credential.scopes) == ((SECRET,), ("ent_a", "ent_b"))
        assert credential.ims_base_url == DEFAULT_IMS_BASE_URL
        assert credential.signing == StoredKey(key_pair().pkcs1)

    @pytest.mark.parametrize(
        ("field", "reason", "document"),
        [
            ("document", "AEM Developer Console", {"ok": True, "integration": {"privateKey": CANARY}}),
            ("document", "Adobe Developer Console", {"client_id": "c", "technical_account_email": CANARY}),
            ("document", "store the whole document as JSON", {"value": f'{{"client_secrets": "{CANARY}"}}'}),
            (
                "client_secrets",
                "is an object where a list",
                {**oauth_document(ref_of(0)), "client_secrets": {"0": CANARY}},
            ),
        ],
        ids=["aem", "console", "text", "numbered"],
    )
    async def test_what_people_store_instead_of_a_document_is_named(
        self, kept: WritableStore, ref: CredentialRef, field: str, reason: str, document: Mapping[str, object]
    ) -> None:
        """Each store says what it found instead of a document, and what to do, without a value."""
        kept.put(ref, {**document, "org_id": ref.org} if "org_id" in document else document)
        with pytest.raises(CredentialMisconfiguredError) as caught:
            await kept.store.fetch(ref)
        assert caught.value.field == field
        assert reason in caught.value.expected
        assert CANARY not in "".join(traceback.format_exception(caught.value, limit=0))

    @pytest.mark.parametrize(
        ("field", "changes"),
        [
            ("kind", {"kind": CANARY}),
            ("org_id", {"org_id": ref_of(1).org}),
            ("ims_base_url", {"ims_base_url": f"https://{CANARY}.example"}),
            ("client_secrets", {"client_secrets": []}),
            ("document", {"unknown": CANARY}),
            ("document", {"certificate": CANARY * (MAX_DOCUMENT_BYTES // len(CANARY))}),
        ],
        ids=["kind", "org", "host", "secrets", "unknown", "large"],
    )
    async def test_a_defect_names_its_field(
        self, kept: WritableStore, ref: CredentialRef, field: str, changes: Mapping[str, object]
    ) -> None:
        """The error of an invalid document names the field and shows no value."""
        kept.put(ref, oauth_document(ref, **changes))
        with pytest.raises(CredentialMisconfiguredError) as caught:
            await kept.store.fetch(ref)
        assert caught.value.field == field
        assert CANARY not in "".join(traceback.format_exception(caught.value, limit=0))
