"""Adobe's files become documents of the broker; what is missing is one sentence that names the option."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from app.domain.adobe_import import ImportFileError, drafts_of
from app.domain.app_import import org_and_client
from app.domain.credential import Credential, CredentialKind
from app.domain.credential_document import parse_credential
from app.domain.import_file import parse_import
from app.domain.import_options import ImportOptions, document_of, with_kept_fields
from app.domain.names import DEFAULT_CREDENTIAL, CredentialRef, OrgId
from app.domain.secret_rotation_state import ConsoleIds
from app.domain.signing import StoredKey
from app.domain.tenant_errors import CredentialMisconfiguredError
from app.hosts import DEFAULT_IMS_BASE_URL, STAGE_IMS_BASE_URL
from tests.support import adobe_files
from tests.support.documents import CANARY
from tests.support.keys import key_pair
from tests.support.tenants import METASCOPES, SCOPES, Tenant

TENANT = Tenant(DEFAULT_IMS_BASE_URL, client_secrets=(f"p8e-{CANARY}-1", f"p8e-{CANARY}-2"))
JWT = Tenant(DEFAULT_IMS_BASE_URL, kind="jwt", org=TENANT.org, client_secrets=(f"p8e-{CANARY}-1",))
ORG = ImportOptions(org=TENANT.org)
KEY = ImportOptions(private_key=key_pair().pkcs8)
BOTH = ImportOptions(org=TENANT.org, private_key=key_pair().pkcs8)
NOTHING = ImportOptions()


def imported(document: object, options: ImportOptions = NOTHING) -> Credential:
    """The credential that the broker reads from the imported file."""
    found = document_of(drafts_of(document), options)
    allowed = frozenset({DEFAULT_IMS_BASE_URL, STAGE_IMS_BASE_URL})
    return parse_credential(json.loads(json.dumps(found)), CredentialRef(OrgId(TENANT.org)), "7", allowed)


def refusal(document: object, options: ImportOptions = NOTHING) -> str:
    """Why a file is refused; no secret is repeated."""
    with pytest.raises(ImportFileError) as caught:
        imported(document, options)
    assert CANARY not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("document", "options"),
    [
        (adobe_files.oauth_project(TENANT), NOTHING),
        (adobe_files.oauth_project(TENANT)["project"], NOTHING),
        (adobe_files.oauth_member(TENANT), ORG),
        ({"oauth_server_to_server": adobe_files.oauth_member(TENANT)}, ORG),
        ({"oauth_sts": adobe_files.oauth_member(TENANT)}, ORG),
        (adobe_files.aio_contexts({"oauth_sts": adobe_files.oauth_member(TENANT), "ims_org_id": TENANT.org}), NOTHING),
        (adobe_files.aio_oauth(TENANT), NOTHING),
        (adobe_files.aio_contexts(adobe_files.aio_oauth(TENANT)), NOTHING),
        (adobe_files.console_download(TENANT), NOTHING),
        ({**adobe_files.aio_oauth(TENANT), "client_secrets": json.dumps(TENANT.client_secrets)}, NOTHING),
        (TENANT.document(), NOTHING),
        ({**TENANT.document(), "org_id": None}, ORG),
    ],
)
def test_files_with_an_oauth_credential(document: object, options: ImportOptions) -> None:
    """Each file with an OAuth Server-to-Server credential gives the same credential, with both secrets."""
    credential = imported(document, options)

    assert credential.kind is CredentialKind.OAUTH_SERVER_TO_SERVER
    assert (credential.client_id, credential.client_secrets) == (TENANT.client_id, TENANT.client_secrets)
    assert list(credential.scopes) == sorted(SCOPES)
    assert credential.technical_account_id == f"{TENANT.org[:24]}@techacct.adobe.com"


@pytest.mark.parametrize(
    ("document", "options"),
    [
        (adobe_files.aem_service_credentials(JWT), NOTHING),
        (adobe_files.aem_service_credentials(JWT)["integration"], NOTHING),
        (adobe_files.jwt_project(JWT), KEY),
        (adobe_files.jwt_member(JWT), BOTH),
        (adobe_files.aio_jwt(JWT), NOTHING),
        (adobe_files.aio_contexts(adobe_files.aio_jwt(JWT)), NOTHING),
        (adobe_files.postman(JWT, signs=True), NOTHING),
        (JWT.document(), NOTHING),
    ],
)
def test_files_with_a_service_account(document: object, options: ImportOptions) -> None:
    """Each file with a service account (JWT) gives the same credential, with its key and bare metascopes."""
    credential = imported(document, options)

    assert credential.kind is CredentialKind.JWT
    assert (credential.client_id, credential.client_secrets) == (JWT.client_id, JWT.client_secrets)
    assert list(credential.scopes) == sorted(METASCOPES)
    assert isinstance(credential.signing, StoredKey)
    assert "PRIVATE KEY" in credential.signing.private_key
    assert credential.ims_base_url == DEFAULT_IMS_BASE_URL


def test_the_certificate_of_aem_is_kept() -> None:
    """The certificate in AEM's file is stored, so that its end is watched."""
    assert imported(adobe_files.aem_service_credentials(JWT)).certificate == key_pair().certificate


def test_a_postman_environment_with_scopes() -> None:
    """The Postman environment has one secret, and its empty variables count as absent."""
    credential = imported(adobe_files.postman(TENANT, signs=False))

    assert credential.kind is CredentialKind.OAUTH_SERVER_TO_SERVER
    assert credential.client_secrets == TENANT.client_secrets[:1]
    assert list(credential.scopes) == sorted(SCOPES)


def test_a_context_of_stage_belongs_to_the_host_of_stage() -> None:
    """A context of aio with `env` stage is exchanged at the IMS host of stage."""
    assert imported({**adobe_files.aio_oauth(TENANT), "env": "stage"}).ims_base_url == STAGE_IMS_BASE_URL


def test_a_credential_in_migration_is_taken_as_oauth_unless_a_key_is_given() -> None:
    """While Adobe migrates a credential, its file has both flows: a key chooses JWT, and otherwise it is OAuth."""
    both = {"oauth_server_to_server": adobe_files.oauth_member(TENANT), "jwt": adobe_files.jwt_member(TENANT)}
    document = adobe_files.project(TENANT.org, both)

    assert imported(document).kind is CredentialKind.OAUTH_SERVER_TO_SERVER
    assert imported(document, KEY).kind is CredentialKind.JWT


def test_one_of_several_credentials_is_chosen_by_its_client_id() -> None:
    """A project with two server-to-server credentials needs a choice; web apps and API keys do not count."""
    other = Tenant(DEFAULT_IMS_BASE_URL, org=TENANT.org)
    members = [{"oauth_server_to_server": adobe_files.oauth_member(tenant)} for tenant in (TENANT, other)]
    web = {"oauth2": {"client_id": "web", "client_secret": CANARY}}, {"api_key": {"client_id": "key"}}
    document = adobe_files.project(TENANT.org, *members, *web)

    assert "has 2 server-to-server credentials; choose one with --client-id ID" in refusal(document)
    assert imported(document, ImportOptions(client_id=other.client_id)).client_id == other.client_id
    assert "no credential with the client id" in refusal(document, ImportOptions(client_id="third"))


def without(document: Mapping[str, Any], *path: str) -> dict[str, Any]:
    """The document without the member at the end of `path`."""
    if len(path) == 1:
        return {name: value for name, value in document.items() if name != path[0]}
    return {**document, path[0]: without(document[path[0]], *path[1:])}


AEM = adobe_files.aem_service_credentials(JWT)


@pytest.mark.parametrize(
    ("document", "options", "expected"),
    [
        (adobe_files.oauth_member(TENANT), NOTHING, "has no org id; give --org ORG"),
        (adobe_files.project(None, {"oauth_server_to_server": adobe_files.oauth_member(TENANT)}), NOTHING, "--org ORG"),
        (adobe_files.jwt_project(JWT), NOTHING, "has no private key, because Adobe does not keep it; give --private"),
        (adobe_files.oauth_project(TENANT), KEY, "needs no key; leave out --private-key"),
        (adobe_files.oauth_project(TENANT), ImportOptions(certificate="x"), "leave out --certificate"),
        (
            adobe_files.oauth_project(TENANT),
            ImportOptions(org=f"{'0' * 24}@AdobeOrg"),
            "another org than that of --org",
        ),
        (without(AEM, "integration", "technicalAccount"), NOTHING, "has no client id"),
        (without(AEM, "integration", "technicalAccount", "clientSecret"), NOTHING, "has no client secret"),
        (without(AEM, "integration", "metascopes"), NOTHING, "has no metascopes"),
        (without(AEM, "integration", "id"), NOTHING, "has no technical account id"),
        (without(adobe_files.oauth_member(TENANT), "scopes"), ORG, "has no scopes"),
        (adobe_files.project(TENANT.org), NOTHING, "has no server-to-server credential"),
        ({"project": {"workspace": CANARY}}, NOTHING, "has no server-to-server credential"),
        ({"accessToken": CANARY}, NOTHING, "is a local development token of AEM, not a credential"),
        ({"secret": CANARY}, NOTHING, "is neither a file of the Adobe Developer Console"),
        ([CANARY], NOTHING, "not an object"),
        (CANARY, NOTHING, "not an object"),
    ],
)
def test_what_is_missing_is_one_sentence_with_the_remedy(
    document: object, options: ImportOptions, expected: str
) -> None:
    """A file that lacks something, or does not fit the options, is refused with what to do, and without its values."""
    assert expected in refusal(document, options)


@pytest.mark.parametrize(
    "document", [adobe_files.aem_service_credentials(JWT), {**JWT.document(), "private_key": key_pair().pkcs8}]
)
def test_a_private_key_is_taken_out_for_the_transit_engine(document: object) -> None:
    """With --transit the document names the key, with the org in its name, and the key itself is apart."""
    options = ImportOptions(transit_key="ims-{org}", passphrase="canary")
    found = parse_import(json.dumps(document).encode(), DEFAULT_CREDENTIAL, options)

    assert found.document["transit_key"] == f"ims-{TENANT.org[:24]}"
    assert not {"private_key", "private_key_passphrase"} & found.document.keys()
    assert found.key is not None
    assert (found.key.name, found.key.passphrase) == (found.document["transit_key"], "canary")
    assert found.key.private_key in {key_pair().pkcs1, key_pair().pkcs8}
    assert found.key.with_key(found.document) == {
        **{name: value for name, value in found.document.items() if name != "transit_key"},
        "private_key": found.key.private_key,
        "private_key_passphrase": "canary",
    }
    assert "PRIVATE" not in repr(found)


def test_a_key_that_is_in_the_transit_engine_already() -> None:
    """With --transit no private key is needed."""
    options = ImportOptions(transit_key="ims-key:2")
    found = parse_import(json.dumps(adobe_files.jwt_project(JWT)).encode(), DEFAULT_CREDENTIAL, options)

    assert (found.document["transit_key"], found.key) == ("ims-key:2", None)


def test_options_for_many_files_are_only_for_those_that_sign() -> None:
    """Among many files, those that need no key are imported without one; alone, the option is a mistake."""
    document = adobe_files.oauth_project(TENANT)

    assert "leave out --transit" in refusal(document, ImportOptions(transit_key="a"))
    assert imported(document, ImportOptions(transit_key="a", many=True)).signing is None


def test_a_project_has_what_a_rotation_of_secrets_needs() -> None:
    """The numbers of the console are taken from a project, unless they are odd, so that its secrets can be rotated."""
    document = adobe_files.oauth_project(TENANT)
    found = document_of(drafts_of(document), NOTHING)
    assert ConsoleIds.of(found) == ConsoleIds("25591412", "1")

    document["project"]["org"]["id"] = CANARY
    assert ConsoleIds.of(document_of(drafts_of(document), NOTHING)) is None


def test_an_app_has_what_a_rotation_of_its_secret_needs() -> None:
    """From a project, the numbers of the console go into the document of the app, not into that of the org."""
    org, client = org_and_client(adobe_files.oauth_project(TENANT), ImportOptions(app="shared"))
    assert client is not None
    assert ConsoleIds.of(client) == ConsoleIds("25591412", "1")
    assert ConsoleIds.of(org) is None


def test_the_numbers_of_the_console_are_kept_for_the_same_client() -> None:
    """A file without the numbers of the console keeps those that are stored, unless it is for another client."""
    stored = {"client_id": "a", "console_org_id": "1", "console_credential_id": "2"}

    assert with_kept_fields({"client_id": "a"}, stored) == stored
    assert with_kept_fields({"client_id": "b"}, stored) == {"client_id": "b"}


def test_what_no_file_of_adobe_has_is_kept() -> None:
    """An import keeps the sandbox of a stored document, and takes everything else from the file."""
    document = with_kept_fields({"kind": "jwt"}, {"kind": "x", "sandbox": "prod", "private_key": CANARY})

    assert document == {"kind": "jwt", "sandbox": "prod"}


@pytest.mark.parametrize("scopes", ["[openid, AdobeID]", "{openid}"])
def test_a_list_in_a_variable_that_is_not_json_is_refused(scopes: str) -> None:
    """Text that only looks like JSON is not split into scopes with brackets in them."""
    file = adobe_files.aio_oauth(TENANT)
    [name] = [name for name in file if "scopes" in name]
    with pytest.raises(CredentialMisconfiguredError) as caught:
        imported({**file, name: scopes})
    assert caught.value.field == "scopes"
