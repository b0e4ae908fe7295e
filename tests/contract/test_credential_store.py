"""What every credential store does: the directory, and a real Vault."""

from __future__ import annotations

import base64
import itertools
import json
import traceback
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Protocol

import hvac
import pytest

from app.adapters.directory import DirectoryCredentialStore
from app.adapters.vault import VaultConfig, VaultCredentialStore, VaultSession
from app.domain.credential import EnterpriseWebAppCredential, JwtCredential, OAuthServerToServerCredential
from app.domain.credential_document import MAX_DOCUMENT_BYTES
from app.domain.names import CredentialRef
from app.domain.signing import StoredKey
from app.domain.tenant_errors import CredentialMisconfiguredError, CredentialNotFoundError
from app.hosts import DEFAULT_IMS_BASE_URL
from app.ports import CredentialStore
from tests.support.documents import (
    ALLOWED,
    CANARY,
    SECRET,
    app_document,
    app_org_document,
    jwt_document,
    oauth_document,
    ref_of,
)
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

    def put_app(self, name: str, document: Mapping[str, object]) -> None:
        """Store the document of an app."""


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

    def put_app(self, name: str, document: Mapping[str, object]) -> None:
        """Store the document of an app."""
        path = self._directory / "_apps" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(document))

    def _path(self, ref: CredentialRef) -> Path:
        return self._directory / ref.org / f"{ref.name}.json"


class KeptInVault:
    """Documents in Vault, in an engine of KV version 2."""

    def __init__(self, server: VaultServer, session: VaultSession) -> None:
        self._server = server
        self.store = VaultCredentialStore(session, MOUNT, PREFIX, ALLOWED)

    def put_app(self, name: str, document: Mapping[str, object]) -> None:
        """Store the document of an app."""
        self._server.put("_apps", name, document)

    def put(self, ref: CredentialRef, document: Mapping[str, object]) -> None:
        """Store a document."""
        self._server.put(ref.org, ref.name, document)

    def remove(self, ref: CredentialRef) -> None:
        """Remove a document."""
        self._server.remove(ref.org, ref.name)


class KeptInVault1:
    """Documents in Vault, in an engine of KV version 1."""

    def __init__(self, server: VaultServer, session: VaultSession, mount: str) -> None:
        self._server = server
        self._mount = mount
        self.store = VaultCredentialStore(session, mount, PREFIX, ALLOWED, kv_version=1)

    def put(self, ref: CredentialRef, document: Mapping[str, object]) -> None:
        """Store a document."""
        self._server.write(f"{self._mount}/{PREFIX}/{ref.org}/{ref.name}", **document)

    def remove(self, ref: CredentialRef) -> None:
        """Remove a document."""
        hvac.Client(url=self._server.addr, token=self._server.root_token).delete(
            f"{self._mount}/{PREFIX}/{ref.org}/{ref.name}"
        )

    def put_app(self, name: str, document: Mapping[str, object]) -> None:
        """Store the document of an app."""
        self._server.write(f"{self._mount}/{PREFIX}/_apps/{name}", **document)


@pytest.fixture(params=["directory", "vault", "vault-kv1"])
async def kept(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[WritableStore]:
    """Each kind of store in turn."""
    if request.param == "directory":
        directory = KeptInDirectory(tmp_path)
        yield directory
        await directory.store.aclose()
        return
    server: VaultServer = request.getfixturevalue("vault_server")
    if request.param == "vault-kv1":
        mount = f"kv-{next(_numbers)}"
        server.write(f"sys/mounts/{mount}", type="kv", options={"version": "1"})
        server.policy(mount, (f"{mount}/{PREFIX}", "list"), (f"{mount}/{PREFIX}/*", "read,list"))
        session = VaultSession(VaultConfig(addr=server.addr, token=server.token(mount)), RecordedEvents())
        yield KeptInVault1(server, session, mount)
        await session.aclose()
        return
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


class TestApps:
    """Documents of apps, which many orgs share."""

    async def test_a_credential_takes_its_client_from_its_app(self, kept: WritableStore, ref: CredentialRef) -> None:
        """An org's document that names an app has the app's client, and the generations of both."""
        kept.put_app("one", app_document())
        kept.put(ref, app_org_document(ref, "one", sandbox="dev", technical_account_id="A@techacct.adobe.com"))
        found = await kept.store.fetch(ref)
        assert isinstance(found, EnterpriseWebAppCredential)
        assert (found.client_id, found.client_secrets, found.scopes) == ("shared-app", (SECRET,), ("AdobeID", "openid"))
        assert (found.sandbox, found.technical_account_id) == ("dev", "A@techacct.adobe.com")
        kept.put(ref, app_org_document(ref, "one"))
        app, _, org = (await kept.store.fetch(ref)).generation.partition(".")
        assert (app, org != found.generation.partition(".")[2]) == (found.generation.partition(".")[0], True)

    async def test_one_write_changes_all_orgs(self, kept: WritableStore, ref: CredentialRef) -> None:
        """A changed document of an app is read at once for each of its orgs, unless a recent one will do."""
        kept.put_app("two", app_document())
        refs = (ref, CredentialRef(ref.org, ref_of(0, "second").name))
        for each in refs:
            kept.put(each, app_org_document(each, "two"))
        before = [await kept.store.fetch(each, recent_app=True) for each in refs]
        kept.put_app("two", app_document(client_secrets=["p8e-rotated"]))
        recent = await kept.store.fetch(ref, recent_app=True)
        after = [await kept.store.fetch(each) for each in refs]
        assert recent == before[0]
        assert {each.client_secrets for each in after} == {("p8e-rotated",)}
        assert not {each.generation for each in before} & {each.generation for each in after}

    async def test_no_app_is_listed(self, kept: WritableStore, ref: CredentialRef) -> None:
        """The folder of apps is not listed as an org."""
        kept.put_app("three", app_document())
        kept.put(ref, app_org_document(ref, "three"))
        listed = await kept.store.refs()
        assert ref in listed
        assert not [each for each in listed if "apps" in each.org]

    @pytest.mark.parametrize(
        ("expected", "document"),
        [
            ("nothing is stored at `<prefix>/_apps/<name>`", None),
            ("kind: must be enterprise_web_app", app_document(kind="oauth_server_to_server")),
            ("document: has the unknown field private_key", app_document(private_key=CANARY)),
            ("document: has the unknown field org_id", app_document(org_id=CANARY)),
            ("client_secrets: must be a list", app_document(client_secrets=[])),
            ("ims_base_url: is not on the allow-list", app_document(ims_base_url=f"https://{CANARY}.example")),
            ("document: ", app_document(client_id=CANARY * (MAX_DOCUMENT_BYTES // len(CANARY)))),
        ],
        ids=["missing", "kind", "unknown", "org", "secrets", "host", "large"],
    )
    async def test_a_defect_of_an_app_names_app_and_field(
        self, kept: WritableStore, ref: CredentialRef, expected: str, document: Mapping[str, object] | None
    ) -> None:
        """The error of a missing or defective document of an app names `app` and the field, and shows no value."""
        name = f"broken-{next(_numbers)}"
        if document is not None:
            kept.put_app(name, document)
        kept.put(ref, app_org_document(ref, name))
        with pytest.raises(CredentialMisconfiguredError) as caught:
            await kept.store.fetch(ref)
        assert caught.value.field == "app"
        assert caught.value.expected.startswith(expected)
        assert CANARY not in "".join(traceback.format_exception(caught.value, limit=0))

    @pytest.mark.parametrize("name", ["..", "../_apps/one", "a/b", "a%2fb", "a.b", "_apps", "", "one\n", 7, ["one"]])
    async def test_an_app_cannot_be_a_path(self, kept: WritableStore, ref: CredentialRef, name: object) -> None:
        """A name that could lead to another path, or is none, is refused before anything is read."""
        kept.put(ref, {**app_org_document(ref, "one"), "app": name})
        with pytest.raises(CredentialMisconfiguredError) as caught:
            await kept.store.fetch(ref)
        assert caught.value.field == "app"
