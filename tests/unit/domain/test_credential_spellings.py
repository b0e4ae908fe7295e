"""Documents as people have them: other spellings of a good document, and what the refusal of a bad one says."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.app_document import AppName, stored_app
from app.domain.credential import Credential
from app.domain.credential_document import parse_credential
from app.domain.signing import StoredKey
from app.domain.tenant_errors import CredentialMisconfiguredError
from app.hosts import DEFAULT_IMS_BASE_URL
from tests.support.documents import ALLOWED, CANARY, app_org_document, jwt_document, oauth_document, ref_of, without
from tests.support.keys import key_pair

REF = ref_of(1)
KEY = key_pair().pkcs8
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nY2FuYXJ5LTdkMWY=\n-----END CERTIFICATE-----\n"


def parsed(document: object) -> Credential:
    """Parse `document` as the credential of `REF`."""
    return parse_credential(document, REF, "7", ALLOWED)


def refusal(document: object) -> CredentialMisconfiguredError:
    """The refusal of a document, which repeats no secret."""
    with pytest.raises(CredentialMisconfiguredError) as caught:
        parsed(document)
    assert CANARY not in caught.value.detail
    return caught.value


# Lists --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scopes", ["openid,AdobeID", "openid AdobeID", " openid , AdobeID,", "openid\nAdobeID\n", ["openid", "AdobeID"],
               ["openid,AdobeID"], ["openid AdobeID\n"], ["openid", "AdobeID,"]],
)  # fmt: skip
def test_scopes_may_be_one_string(scopes: object) -> None:
    """Scopes in one string, separated by commas or blanks, are the same as a list."""
    assert parsed(oauth_document(REF, scopes=scopes)) == parsed(oauth_document(REF))


def test_metascopes_may_be_one_string() -> None:
    """The metascopes of the AEM Developer Console are one string with commas."""
    document = jwt_document(REF, metascopes="ent_aem_cloud_sdk,ent_cloudmgr_sdk")

    assert parsed(document).scopes == ("ent_aem_cloud_sdk", "ent_cloudmgr_sdk")


@pytest.mark.parametrize("secrets", ["a", "a\n", ["a"], ["a\r\n"], ["a\n"]])
def test_a_secret_may_be_one_string_and_end_with_a_line_end(secrets: object) -> None:
    """One secret may be a string, and a line end at its end, which `echo` adds, is dropped."""
    assert parsed(oauth_document(REF, client_secrets=secrets)).client_secrets == ("a",)


@pytest.mark.parametrize("secrets", ["a,b", "a b", "a\nb\n", ["a\n", "b"]])
def test_two_secrets_may_be_one_string(secrets: object) -> None:
    """Two secrets in one string keep their order."""
    assert parsed(oauth_document(REF, client_secrets=secrets)).client_secrets == ("a", "b")


@pytest.mark.parametrize("field", ["client_secrets", "scopes"])
@pytest.mark.parametrize("wrap", [json.dumps, lambda items: {str(n): item for n, item in enumerate(items)}])
def test_a_list_that_a_tool_packed_gets_a_hint(field: str, wrap: Callable[[list[str]], object]) -> None:
    """A string that contains JSON, and an object with numbers, name the field and say to store the document as JSON."""
    error = refusal(oauth_document(REF, **{field: wrap([CANARY])}))

    assert error.field == field
    assert "store the whole document as JSON" in error.detail


@pytest.mark.parametrize("document", [json.dumps(oauth_document(REF)), {"value": json.dumps(oauth_document(REF))}])
def test_a_document_inside_of_a_string_gets_a_hint(document: object) -> None:
    """A whole document as text, alone or in one field as `vault kv put PATH value=@FILE` stores it, is recognised."""
    error = refusal(document)

    assert error.field == "document"
    assert "is a string that contains JSON; store the whole document as JSON" in error.detail


def test_a_blank_in_a_secret_is_named() -> None:
    """A blank inside of a secret is refused with the number of the item, since it was pasted wrongly."""
    error = refusal(oauth_document(REF, client_secrets=["good", f"{CANARY} x"]))

    assert error.field == "client_secrets"
    assert "has a blank or a line end in item 2" in error.detail


# Unknown fields and Adobe's own files -------------------------------------------------------------------------------


def test_members_of_adobes_files_are_ignored() -> None:
    """What Adobe's files have besides the credential changes nothing."""
    extra = {
        "technical_account_email": "a@techacct.adobe.com",
        "id": "1",
        "name": "x",
        "integration_type": "y",
        "email": "a@techacct.adobe.com",
        "ok": True,
        "statusCode": 200,
    }

    assert parsed(oauth_document(REF, **extra)) == parsed(oauth_document(REF))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("client_secret", "has the unknown field client_secret (did you mean client_secrets?)."),
        ("meta_scopes", "has the unknown field meta_scopes (did you mean metascopes?)."),
        ("tenant", "has the unknown field tenant; the known fields are "),
        (f"p8e-{CANARY}", "has an unknown field; the known fields are "),
    ],
)
def test_an_unknown_field_is_named_if_it_looks_like_a_name(name: str, expected: str) -> None:
    """A misspelt field is named, with the one that was meant; what may be a secret is not repeated."""
    assert expected in refusal(oauth_document(REF, **{name: CANARY})).detail


INTEGRATION = {
    "imsEndpoint": "ims-na1.adobelogin.com",
    "technicalAccount": {"clientId": "a", "clientSecret": CANARY},
    "org": REF.org,
}
MEMBER = {
    "client_id": "a",
    "client_secrets": [CANARY],
    "technical_account_email": "a@techacct.adobe.com",
    "technical_account_id": "A@techacct.adobe.com",
    "scopes": ["openid"],
}


@pytest.mark.parametrize(
    ("document", "name"),
    [
        ({"ok": True, "integration": INTEGRATION, "statusCode": 200}, "of the AEM Developer Console"),
        (INTEGRATION, "of the AEM Developer Console"),
        ({"project": {"org": {}, "workspace": {}}}, "project downloaded from the Adobe Developer Console"),
        ({"oauth_server_to_server": MEMBER}, "credential out of a project of the Adobe Developer Console"),
        ({"id": "1", "name": "x", "jwt": {"client_id": "a"}}, "credential out of a project"),
        (MEMBER, "credential out of a project of the Adobe Developer Console"),
        ({"values": [{"key": "CLIENT_SECRET", "value": CANARY}]}, "Postman environment"),
        ({"CLIENT_ID": "a", "ORG_ID": REF.org, "CLIENT_SECRET": CANARY}, "downloaded from the Adobe Developer Console"),
        ({"integration": {"privateKey": CANARY}}, "of the AEM Developer Console"),
        ({"client_id": "a", "client_secret": CANARY, "meta_scopes": ["ent_x"]}, "credential out of a project"),
        ({"API_KEY": "a", "TECHNICAL_ACCOUNT_ID": "x", "CLIENT_SECRET": CANARY}, "downloaded from the Adobe Developer"),
        ({**MEMBER, "ims_org_id": REF.org}, "context of the aio command line"),
        ({"clientId": "a", "clientSecret": CANARY}, "context of the aio command line"),
        ({"ims": {"contexts": {"my": MEMBER}}}, "context of the aio command line"),
    ],
)  # fmt: skip
def test_a_file_of_adobe_is_recognised(document: dict[str, object], name: str) -> None:
    """A whole file as Adobe hands it out is refused with its name and the command that imports it."""
    error = refusal(document)

    assert name in error.detail
    assert "`ims-token-broker org import FILE` turns it into a document of the broker" in error.detail


def test_a_local_development_token_is_not_a_credential() -> None:
    """The development token of AEM is recognised, and no command can import it."""
    error = refusal({"accessToken": CANARY})

    assert "not a credential" in error.detail
    assert "org import" not in error.detail


# Keys ---------------------------------------------------------------------------------------------------------------

SPELLINGS: dict[str, Callable[[str], object]] = {
    "CRLF": lambda pem: pem.replace("\n", "\r\n"),
    "no final line end": str.rstrip,
    "blanks around it": lambda pem: f"\n  {pem}  \n",
    "escaped line ends": lambda pem: pem.replace("\n", "\\n"),
    "escaped CRLF": lambda pem: pem.replace("\n", "\\r\\n"),
    "line ends escaped twice": lambda pem: pem.replace("\n", "\\\\n"),
    "CR": lambda pem: pem.replace("\n", "\r"),
    "indented": lambda pem: pem.replace("\n", "\n    "),
    "a list of lines": str.splitlines,
    "a list of lines with their ends": lambda pem: pem.splitlines(keepends=True),
    "a list with one text": lambda pem: [pem],
    "base64": lambda pem: base64.b64encode(pem.encode()).decode(),
    "base64 in lines": lambda pem: base64.encodebytes(pem.encode()).decode(),
    "base64 of CRLF": lambda pem: base64.b64encode(pem.replace("\n", "\r\n").encode()).decode(),
    "one line": lambda pem: pem.strip().replace("\n", " "),
    "attributes before it": lambda pem: f"Bag Attributes\n    friendlyName: x\nKey Attributes: <No Attributes>\n{pem}",
    "a certificate after it": lambda pem: pem + CERTIFICATE,
}


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
def test_a_key_has_many_spellings(spell: Callable[[str], object]) -> None:
    """However the key reached the document, it is the same PEM text."""
    assert parsed(jwt_document(REF, private_key=spell(KEY))).signing == StoredKey(KEY)


@pytest.mark.parametrize(
    "spelling", ["CRLF", "CR", "escaped line ends", "escaped CRLF", "a list of lines", "base64 of CRLF"]
)
def test_a_key_with_headers_keeps_its_lines(spelling: str) -> None:
    """The older form of an encrypted key has headers, whose lines must not be joined; its line ends become LF, too."""
    key = key_pair().encrypted_pkcs1
    assert "Proc-Type: 4,ENCRYPTED\n" in key
    assert parsed(jwt_document(REF, private_key=SPELLINGS[spelling](key))).signing == StoredKey(key)


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
def test_a_certificate_has_the_same_spellings(spell: Callable[[str], object]) -> None:
    """A certificate is taken in each form in which a key is."""
    assert parsed(jwt_document(REF, certificate=spell(CERTIFICATE))).certificate in {CERTIFICATE, CERTIFICATE * 2}


def labelled(label: str) -> str:
    """PEM text with a label."""
    return f"-----BEGIN {label}-----\n{base64.b64encode(CANARY.encode()).decode()}\n-----END {label}-----\n"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (labelled("OPENSSH PRIVATE KEY"), "is an OpenSSH key; convert a copy of it with `ssh-keygen -p -m PEM"),
        (labelled("PUBLIC KEY"), "is a public key"),
        (labelled("CERTIFICATE"), "is a certificate; put it into the field certificate"),
        (labelled("CERTIFICATE REQUEST"), "is a certificate request"),
        (labelled("EC PRIVATE KEY"), "is an elliptic-curve key"),
        (KEY.partition("-----END")[0], "is truncated"),
        (KEY[:200], "is truncated"),
        (f"{CANARY} nothing", "must be a private key in PEM form, which begins with -----BEGIN PRIVATE KEY-----"),
        ("", "must be a private key in PEM form"),
        (KEY[40:], "is truncated: its first line"),
        (labelled("NEW CERTIFICATE REQUEST"), "is a certificate request"),
        (labelled("DSA PRIVATE KEY"), "is a DSA key"),
        (f"ssh-rsa AAAA{CANARY}", "is a public key of OpenSSH"),
        (f"PuTTY-User-Key-File-3: {CANARY}", "is a PuTTY key"),
        ("".join(KEY.splitlines()[1:-1]), "is base64 without PEM lines, such as DER or PKCS#12"),
        (1, "must be PEM text, or a list of its lines"),
        ({"0": CANARY}, "is an object where PEM text is expected; store the whole document as JSON"),
        (json.dumps([CANARY]), "is a string that contains JSON; store the whole document as JSON"),
    ],
)
def test_what_is_not_a_private_key_is_named(value: object, expected: str) -> None:
    """The refusal says what stands in the field instead of a private key."""
    error = refusal(jwt_document(REF, private_key=value))

    assert error.field == "private_key"
    assert expected in error.detail


@pytest.mark.parametrize(
    ("value", "expected"),
    [(KEY, "has a private key"), (labelled("PUBLIC KEY"), "is a public key"), (CERTIFICATE[:40], "is truncated")],
)
def test_what_is_not_a_certificate_is_named(value: str, expected: str) -> None:
    """The refusal says what stands in the field instead of a certificate."""
    error = refusal(jwt_document(REF, certificate=value))

    assert error.field == "certificate"
    assert expected in error.detail


@pytest.mark.parametrize(
    "repeated", ["-----BEGIN PRIVATE KEY-----\n", "-----BEGIN ", "-----BEGIN A-----\n-----END B-----\n"]
)
def test_text_full_of_first_lines_is_searched_once(repeated: str) -> None:
    """The largest bad document blocks the event loop for less than a second, because it is not searched per line."""
    began = time.process_time()
    refusal(jwt_document(REF, private_key=repeated * (250_000 // len(repeated))))
    assert time.process_time() - began < 1


def test_a_passphrase_loses_its_line_end() -> None:
    """A line end at the end of a passphrase is dropped, and blanks stay."""
    signing = parsed(jwt_document(REF, private_key_passphrase=" a b \n")).signing

    assert signing == StoredKey(jwt_document(REF)["private_key"], " a b ")  # type: ignore[arg-type]


# The IMS host -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "ims-na1.adobelogin.com",
        "IMS-NA1.adobelogin.com/",
        "HTTPS://ims-na1.adobelogin.com",
        "https://ims-na1.adobelogin.com:443",
        "https://ims-na1.adobelogin.com/ims",
        "https://ims-na1.adobelogin.com/ims/exchange/jwt/",
        "https://ims-na1.adobelogin.com/ims/token/v3",
        " https://ims-na1.adobelogin.com//\n",
    ],
)
def test_the_ims_host_has_many_spellings(url: str) -> None:
    """A bare host, capitals, the usual port, a path of IMS and final slashes all name the same host."""
    assert parsed(oauth_document(REF, ims_base_url=url)).ims_base_url == DEFAULT_IMS_BASE_URL


@pytest.mark.parametrize(
    "url", ["https://user:x@ims-na1.adobelogin.com", "https://ims-na1.adobelogin.com/?x", "ftp://x", "https://x/other"]
)
def test_what_is_not_an_ims_host_is_refused(url: str) -> None:
    """A login, a query, another scheme or another path is refused by name."""
    error = refusal(oauth_document(REF, ims_base_url=url))

    assert error.field == "ims_base_url"
    assert "must be a base URL such as" in error.detail


@given(st.sampled_from(sorted(SPELLINGS)), st.sampled_from([",", " ", ", ", "\n"]), st.sampled_from(["", "\n", "\r\n"]))
def test_any_spelling_equals_the_tidy_document(key: str, separator: str, end: str) -> None:
    """Spellings combine: the credential is always that of the tidy document."""
    tidy = jwt_document(REF, private_key=KEY, metascopes=["ent_a", "ent_b"], client_secrets=["s1", "s2"])
    spelt = {
        **without(tidy, "client_secrets"),
        "client_secrets": separator.join(["s1", "s2"]) + end,
        "metascopes": separator.join(["ent_a", "ent_b"]) + end,
        "private_key": SPELLINGS[key](KEY),
        "ims_base_url": f"ims-na1.adobelogin.com{end}",
    }

    assert parsed(spelt) == parsed(tidy)


# Apps ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [None, [], "text", {"integration": {"imsEndpoint": "a", "org": "b"}}])
def test_the_document_of_an_app_is_not_something_else(content: object) -> None:
    """What is not an object, and a file as Adobe's console gives it, is refused as the app's."""
    with pytest.raises(CredentialMisconfiguredError):
        parse_credential(app_org_document(REF, "shop"), REF, "7", ALLOWED, stored_app(AppName("shop"), content, "1"))


def test_an_org_of_an_app_cannot_be_read_without_it() -> None:
    """Where only one document is read, the client is missing."""
    assert refusal(app_org_document(REF, "shop")).field == "app"
