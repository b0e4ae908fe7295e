"""The bytes of a file become a document of the broker, or one sentence."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from app.domain.adobe_import import OWN, ImportFileError
from app.domain.certificate_file import CertificateFileError, certificate_file
from app.domain.import_file import AN_APP, AN_ORG, input_digest, parse_import
from app.domain.import_options import ImportOptions
from app.domain.key_move import KeyToMove
from app.domain.names import DEFAULT_CREDENTIAL, CredentialName
from tests.support.adobe_files import jwt_project, oauth_project, project
from tests.support.documents import PRIVATE_KEY, jwt_document, oauth_document, ref_of, without
from tests.support.keys import key_pair
from tests.support.tenants import Tenant

REF = ref_of(1)
NOTHING = ImportOptions()
APP = ImportOptions(app="shop")


def refusal(content: object, options: ImportOptions = NOTHING) -> str:
    """Why a file is refused."""
    with pytest.raises(ImportFileError) as refused:
        parse_import(
            content if isinstance(content, bytes) else json.dumps(content).encode(), DEFAULT_CREDENTIAL, options
        )
    return str(refused.value)


def test_a_document_of_the_broker_is_taken_whole() -> None:
    """It may begin with a byte order mark, as editors on Windows write it."""
    content = b"\xef\xbb\xbf" + json.dumps(oauth_document(REF)).encode()
    found = parse_import(content, CredentialName("second"), NOTHING)
    assert (found.ref.org, found.ref.name, found.whole, found.source) == (REF.org, "second", True, OWN)
    assert (found.document, found.notes, found.key, found.client) == (oauth_document(REF), (), None, None)


def test_whether_there_is_a_private_key_to_delete_is_known() -> None:
    """A document of the kind `jwt` has one, and so has a key that is to be moved; a client secret is none."""
    parsed = [
        parse_import(json.dumps(make(REF)).encode(), REF.name, NOTHING) for make in (jwt_document, oauth_document)
    ]
    assert [found.has_private_key for found in parsed] == [True, False]
    moved = replace(parsed[1], key=KeyToMove("transit", "a PEM"))
    assert moved.has_private_key


def test_what_is_not_json_or_has_no_org_is_refused() -> None:
    """The sentence names the defect and not the value."""
    assert "is not a JSON file" in refusal(b"{")
    assert "has a defect in org_id" in refusal(oauth_document(REF, org_id="canary"))
    assert "canary" not in refusal(oauth_document(REF, org_id="canary"))


def test_another_endpoint_takes_the_place_of_the_files() -> None:
    """The option is for the document, whatever the file says."""
    url = "https://ims-na1-stg1.adobelogin.com"
    content = json.dumps(oauth_document(REF)).encode()
    found = parse_import(content, DEFAULT_CREDENTIAL, ImportOptions(ims_base_url=url))
    assert found.document["ims_base_url"] == url


def test_a_document_that_names_its_app_needs_no_client() -> None:
    """It has an org and an app; a document without a kind needs a client, and is looked at when it is used."""
    document = {"kind": "enterprise_web_app", "org_id": REF.org, "app": "shop"}
    assert parse_import(json.dumps(document).encode(), DEFAULT_CREDENTIAL, NOTHING).document == document
    odd = without(oauth_document(REF), "scopes") | {"kind": "odd"}
    assert parse_import(json.dumps(odd).encode(), DEFAULT_CREDENTIAL, NOTHING).document == odd


def test_a_key_is_taken_out_to_be_moved() -> None:
    """With the name of a key at a signer, the document has the name, and the private key comes apart."""
    content = json.dumps(jwt_document(REF, private_key_passphrase="p\n")).encode()
    found = parse_import(content, DEFAULT_CREDENTIAL, ImportOptions(transit_key="ims-{org}"))
    assert found.key is not None
    assert found.document["transit_key"] == found.key.name == f"ims-{REF.org.partition('@')[0]}"
    assert found.key.passphrase == "p"
    assert not {"private_key", "private_key_passphrase"} & set(found.document)
    assert "private_key" in refusal(jwt_document(REF, private_key="nonsense"), ImportOptions(transit_key="a"))


def test_of_several_flows_the_one_that_stays_is_taken() -> None:
    """While Adobe migrates a credential its file has two; a note says which was taken."""
    tenant = Tenant("https://ims-na1.adobelogin.com")
    member = {
        "id": "1", "name": "a", "integration_type": "oauth_server_to_server",
        "oauth_server_to_server": {"client_id": "c", "client_secrets": ["s"], "scopes": ["openid"]},
        "jwt": {"client_id": "c", "client_secret": "s", "technical_account_id": "t", "meta_scopes": ["m"]},
    }  # fmt: skip
    found = parse_import(json.dumps(project(tenant.org, member)).encode(), DEFAULT_CREDENTIAL, NOTHING)
    assert found.document["kind"] == "oauth_server_to_server"
    assert len(found.notes) == 1


def test_an_org_of_an_app_needs_its_id_alone() -> None:
    """The file names the org, and what is its own; the client is stored once, with the app."""
    content = json.dumps({"ims_org_id": REF.org, "sandbox": "stage"}).encode()
    found = parse_import(content, DEFAULT_CREDENTIAL, APP)
    assert (found.source, found.client) == (AN_ORG, None)
    assert found.document == {"kind": "enterprise_web_app", "org_id": REF.org, "app": "shop", "sandbox": "stage"}


def test_a_file_with_a_client_gives_the_app_its_document() -> None:
    """The client goes to the app's document; the org is that of the option, because the file has the app's own."""
    options = ImportOptions(app="shop", org=REF.org, ims_base_url="https://ims-na1-stg1.adobelogin.com")
    found = parse_import(json.dumps(oauth_document(ref_of(2))).encode(), DEFAULT_CREDENTIAL, options)
    assert (found.source, found.ref) == (AN_APP, REF)
    assert found.client is not None
    assert found.client["ims_base_url"] == options.ims_base_url
    assert set(found.client) >= {"client_id", "client_secrets", "scopes"}
    assert found.document == {"kind": "enterprise_web_app", "org_id": REF.org, "app": "shop"}
    plain = parse_import(json.dumps(oauth_document(REF)).encode(), DEFAULT_CREDENTIAL, APP)
    assert plain.client is not None
    assert plain.client.get("ims_base_url") == oauth_document(REF).get("ims_base_url")


def test_an_app_needs_an_org_and_a_client_with_a_secret() -> None:
    """A service account cannot be an app, and an org must be named somewhere."""
    assert "service account" in refusal(jwt_project(Tenant("https://ims-na1.adobelogin.com", kind="jwt")), APP)
    assert "give --org" in refusal({"sandbox": "a"}, APP)
    assert "no client secret" in refusal(without(oauth_document(REF), "client_secrets"), APP)


def test_the_digest_changes_with_every_part_of_the_input() -> None:
    """Equal input has an equal digest; moving a letter from one option to the next is other input."""
    options = [
        NOTHING, ImportOptions(org="a"), ImportOptions(client_id="a"), ImportOptions(private_key="a"),
        ImportOptions(passphrase="a"), ImportOptions(certificate="a"), ImportOptions(transit_key="a"),
        ImportOptions(app="a"), ImportOptions(ims_base_url="a"), ImportOptions(org="ab", client_id="c"),
        ImportOptions(org="a", client_id="bc"),
    ]  # fmt: skip
    digests = [input_digest(b"file", DEFAULT_CREDENTIAL, option) for option in options]
    digests += [
        input_digest(b"other", DEFAULT_CREDENTIAL, NOTHING),
        input_digest(b"file", CredentialName("b"), NOTHING),
    ]
    assert len(set(digests)) == len(digests)
    assert input_digest(b"file", DEFAULT_CREDENTIAL, NOTHING) == digests[0]


def test_a_certificate_is_found_in_any_of_its_files() -> None:
    """PEM with and without a key, DER, and Adobe's download have it; a file without one says so."""
    pair = key_pair()
    both = certificate_file((pair.pkcs8 + pair.certificate).encode())
    assert (both.certificate.strip(), (both.private_key or "").strip()) == (
        pair.certificate.strip(),
        pair.pkcs8.strip(),
    )
    assert certificate_file(pair.certificate.encode()).private_key is None
    assert "BEGIN CERTIFICATE" in certificate_file(b"\x30\x82").certificate
    document = jwt_document(REF, certificate=pair.certificate, private_key_passphrase="p")
    found = certificate_file(json.dumps(document).encode())
    assert (found.passphrase, found.private_key) == ("p", PRIVATE_KEY)
    for content in (b"text", b"{", b"[1]", b'{"a": 1}', json.dumps(oauth_document(REF)).encode(),
                    json.dumps(jwt_document(REF, certificate="x")).encode()):  # fmt: skip
        with pytest.raises(CertificateFileError):
            certificate_file(content)


def test_odd_members_of_a_file_are_passed_over() -> None:
    """What is not an object among the credentials is ignored; text that only looks like JSON stays text."""
    tenant = Tenant("https://ims-na1.adobelogin.com")
    for document in (project(tenant.org), {"ims": {"contexts": {"a": 1}}}):
        assert refusal(document)
    odd = oauth_project(tenant)
    odd["project"]["workspace"]["details"]["credentials"].insert(0, 1)
    found = parse_import(json.dumps(odd).encode(), DEFAULT_CREDENTIAL, NOTHING)
    assert found.ref.org == tenant.org
