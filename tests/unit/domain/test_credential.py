"""Parsing of credential documents: what is accepted, and how each defect is reported."""

from __future__ import annotations

import traceback
from collections.abc import Mapping

import pytest

from app.domain.credential import (
    Credential,
    CredentialKind,
    EnterpriseWebAppCredential,
    JwtCredential,
    OAuthServerToServerCredential,
)
from app.domain.credential_document import parse_credential
from app.domain.signing import RemoteKey, StoredKey
from app.domain.tenant_errors import CredentialMisconfiguredError
from app.hosts import DEFAULT_IMS_BASE_URL
from tests.support.documents import (
    ALLOWED,
    CANARY,
    PRIVATE_KEY,
    SECRET,
    app_org_document,
    jwt_document,
    oauth_document,
    ref_of,
    without,
)

REF = ref_of(1)
OTHER_HOST = "https://ims-na1-stg1.adobelogin.com"


def parsed(document: object, allowed: frozenset[str] = ALLOWED) -> Credential:
    """Parse `document` as the credential of `REF`."""
    return parse_credential(document, REF, "7", allowed)


class TestKinds:
    """The credential that each kind of document gives."""

    def test_an_oauth_document_is_parsed(self) -> None:
        """An OAuth server-to-server document gives a credential of that kind with all its fields."""
        credential = parsed(oauth_document(REF, sandbox="dev-1", not_before="2030-03-17T18:46:40+01:00"))
        assert credential == OAuthServerToServerCredential(
            ref=REF,
            generation="7",
            client_id="abcdef0123456789",
            client_secrets=(SECRET,),
            scopes=("AdobeID", "openid"),  # type: ignore[arg-type]  # plain strings compare equal
            technical_account_id="ABCDEF0123456789@techacct.adobe.com",
            ims_base_url=DEFAULT_IMS_BASE_URL,
            certificate=None,
            sandbox="dev-1",
            not_before=1_900_000_000.0,
        )

    def test_an_enterprise_web_app_is_parsed(self) -> None:
        """An enterprise web app needs no technical account."""
        document = oauth_document(REF, kind="enterprise_web_app", technical_account_id=None)
        credential = parsed(document)
        assert isinstance(credential, EnterpriseWebAppCredential)
        assert credential.technical_account_id is None

    def test_a_service_account_is_parsed(self) -> None:
        """A service account's scopes are its metascopes."""
        credential = parsed(jwt_document(REF))
        assert isinstance(credential, JwtCredential)
        assert credential.scopes == ("ent_dataservices_sdk",)
        assert credential.signing == StoredKey(PRIVATE_KEY)

    def test_a_service_account_may_have_a_transit_key(self) -> None:
        """A transit key replaces the private key."""
        credential = parsed({**without(jwt_document(REF), "private_key"), "transit_key": "tenant.one"})
        assert isinstance(credential, JwtCredential)
        assert credential.signing == RemoteKey("transit", "tenant.one")

    def test_a_service_account_may_have_a_kms_key(self) -> None:
        """A key of AWS KMS replaces the private key."""
        credential = parsed({**without(jwt_document(REF), "private_key"), "kms_key": "alias/ims/tenant"})
        assert isinstance(credential, JwtCredential)
        assert credential.signing == RemoteKey("kms", "alias/ims/tenant")

    @pytest.mark.parametrize("kind", list(CredentialKind))
    def test_left_over_fields_of_another_kind_are_ignored(self, kind: CredentialKind) -> None:
        """A document converted in place may keep the fields of its former kind."""
        document = jwt_document(REF, kind=str(kind), scopes=["openid"])
        assert parsed(document).kind is kind


class TestForms:
    """Equivalent spellings of a document."""

    def test_null_is_absent(self) -> None:
        """A null field means the same as an absent one."""
        document = oauth_document(REF, private_key=None, certificate=None, ims_base_url=None, unheard_of=None)
        assert parsed(document) == parsed(oauth_document(REF))

    def test_crlf_becomes_lf(self) -> None:
        """CRLF line ends in PEM text become LF."""
        credential = parsed(jwt_document(REF, private_key=PRIVATE_KEY.replace("\n", "\r\n")))
        assert isinstance(credential, JwtCredential)
        assert credential.signing == StoredKey(PRIVATE_KEY)

    @pytest.mark.parametrize(
        "metascope",
        ["ent_x_sdk", "/s/ent_x_sdk", f"{DEFAULT_IMS_BASE_URL}/s/ent_x_sdk", " ent_x_sdk "],
    )
    def test_a_metascope_has_three_forms(self, metascope: str) -> None:
        """A metascope may be given by name, by path or by URL."""
        assert parsed(jwt_document(REF, metascopes=[metascope])).scopes == ("ent_x_sdk",)

    def test_a_scope_is_not_cut_in_its_middle(self) -> None:
        """Only a prefix of a scope is removed."""
        assert parsed(oauth_document(REF, scopes=["https/s/x"])).scopes == ("https/s/x",)

    def test_two_secrets_keep_their_order(self) -> None:
        """Secrets are tried in the order of the document."""
        assert parsed(oauth_document(REF, client_secrets=["b", "a"])).client_secrets == ("b", "a")

    @pytest.mark.parametrize(
        "url",
        [
            f"{OTHER_HOST}/",
            "ims-na1-stg1.adobelogin.com",
            "IMS-NA1-STG1.adobelogin.com",
            f"{OTHER_HOST}:443",
            f"{OTHER_HOST}/ims/exchange/jwt",
            f"{OTHER_HOST}/ims/token/v3\n",
        ],
    )
    def test_the_base_url_may_have_any_spelling(self, url: str) -> None:
        """The IMS URL is brought into its normal form before it is looked up."""
        document = oauth_document(REF, ims_base_url=url)
        assert parsed(document, frozenset({OTHER_HOST})).ims_base_url == OTHER_HOST


DEFECTS: list[tuple[str, Mapping[str, object]]] = [
    *[("kind", {"kind": value}) for value in (None, "", CANARY, 7, [CANARY])],
    *[("org_id", {"org_id": value}) for value in (None, "", ref_of(2).org, 1)],
    *[("client_id", {"client_id": value}) for value in (None, "", f"{CANARY}/x", f"a\n{CANARY}", "a" * 129, 1)],
    *[
        ("client_secrets", {"client_secrets": value})
        for value in (
            None,
            [],
            "",
            f"{SECRET},{SECRET} {SECRET}",
            {"0": SECRET},
            f'["{SECRET}"]',
            [SECRET, SECRET, SECRET],
            [""],
            [SECRET, 1],
            [f" {CANARY}"],
            [f"{CANARY} x"],
            [f"{CANARY}\nx"],
            [f"{CANARY}é"],
            [f"\ufeff{CANARY}"],
            [f'["{CANARY}"]'],
            [CANARY * 60],
        )
    ],
    *[
        ("scopes", {"scopes": value})
        for value in (
            None,
            [],
            "",
            f'["{CANARY}"]',
            {"0": CANARY},
            [1],
            [f'{CANARY}"'],
            [f'["{CANARY}"]'],
            [""],
            [str(i) for i in range(65)],
        )
    ],
    *[("technical_account_id", {"technical_account_id": value}) for value in (CANARY, "", 1, f"{CANARY}@AdobeID")],
    *[("certificate", {"certificate": value}) for value in (CANARY, 1, "")],
    *[("not_before", {"not_before": value}) for value in ("2026-11-27", "2026-11-27T02:00:00", CANARY, 1)],
    *[("sandbox", {"sandbox": value}) for value in (f"{CANARY}\r\nx: y", "", 1)],
    *[
        ("ims_base_url", {"ims_base_url": value})
        for value in (
            f"https://{CANARY}.example",
            1,
            f"{DEFAULT_IMS_BASE_URL}/{CANARY}",
            f"{CANARY}:99999",
            "http://127.0.0.1",
        )
    ],
    ("document", {CANARY: "x"}),
    ("document", {"client_secret": SECRET}),
]

JWT_DEFECTS: list[tuple[str, Mapping[str, object]]] = [
    *[("metascopes", {"metascopes": value}) for value in (None, [], "", [1], [f'{CANARY}"'])],
    ("technical_account_id", {"technical_account_id": None}),
    ("private_key", {"private_key": None}),
    ("private_key", {"private_key": CANARY}),
    ("private_key", {"private_key": [PRIVATE_KEY, 1]}),
    ("private_key", {"private_key": PRIVATE_KEY.partition("-----END")[0]}),
    ("private_key", {"transit_key": "k"}),
    ("transit_key", {"private_key": None, "transit_key": f"../{CANARY}"}),
    ("transit_key", {"private_key": None, "transit_key": 1}),
    ("private_key_passphrase", {"private_key_passphrase": 1}),
]


class TestDocumentDefects:
    """Documents that are refused."""

    @pytest.mark.parametrize(("field", "changes"), DEFECTS)
    def test_oauth(self, field: str, changes: Mapping[str, object]) -> None:
        """Each defect of an OAuth document names its field, and never a value."""
        self._refused(field, oauth_document(REF, **changes))

    @pytest.mark.parametrize(("field", "changes"), JWT_DEFECTS)
    def test_jwt(self, field: str, changes: Mapping[str, object]) -> None:
        """Each defect of a service account's document names its field, and never a value."""
        self._refused(field, jwt_document(REF, **changes))

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"private_key": None}, "is missing: kind jwt needs one of private_key, transit_key, kms_key"),
            ({"transit_key": "k"}, "keep one of private_key, transit_key, kms_key, and remove the rest"),
            ({"kms_key": "alias/ims"}, "keep one of private_key, transit_key, kms_key, and remove the rest"),
            ({"private_key": None, "kms_key": "alias/ims", "transit_key": "k"}, "keep one of private_key"),
        ],
    )
    def test_no_key_and_two_keys_are_different_mistakes(self, changes: Mapping[str, object], expected: str) -> None:
        """A document without a key that signs, and one with two, each get their own sentence."""
        with pytest.raises(CredentialMisconfiguredError, match=expected):
            parsed(jwt_document(REF, **changes))

    @pytest.mark.parametrize("document", [None, [], CANARY, 1, [oauth_document(REF)]])
    def test_anything_but_an_object_is_refused(self, document: object) -> None:
        """A document that is not a JSON object is refused."""
        self._refused("document", document)

    def _refused(self, field: str, document: object) -> None:
        with pytest.raises(CredentialMisconfiguredError) as caught:
            parsed(document)
        assert caught.value.field == field
        assert field in caught.value.detail
        assert CANARY not in repr(caught.value)
        assert CANARY not in "".join(traceback.format_exception(caught.value, limit=0))


@pytest.mark.parametrize("document", [oauth_document(REF), jwt_document(REF, private_key_passphrase=CANARY)])
def test_secrets_are_not_in_the_repr(document: Mapping[str, object]) -> None:
    """A credential's repr contains no secret."""
    assert CANARY not in repr(parsed(document))


class TestAppDocuments:
    """Documents that take their client from an app."""

    @pytest.mark.parametrize("field", ["client_id", "client_secrets", "scopes", "ims_base_url"])
    def test_a_field_of_the_app_is_refused_in_the_orgs_document(self, field: str) -> None:
        """A document that names an app and has one of the app's fields is refused by the name of the field."""
        document = app_org_document(REF, "shared", **{field: [CANARY]})
        with pytest.raises(CredentialMisconfiguredError, match="is in the document of the app") as caught:
            parsed(document)
        assert caught.value.field == field

    @pytest.mark.parametrize("document", [oauth_document(REF, app="shared"), jwt_document(REF, app="shared")])
    def test_only_an_enterprise_web_app_names_an_app(self, document: Mapping[str, object]) -> None:
        """A document of another kind that names an app is refused by that field."""
        with pytest.raises(CredentialMisconfiguredError, match="only for kind enterprise_web_app") as caught:
            parsed(document)
        assert caught.value.field == "app"
