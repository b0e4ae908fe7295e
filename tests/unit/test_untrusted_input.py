"""Whatever comes from outside, a parser gives a value or one of the errors that it declares, and nothing else.

Here are the parsers that have no property test of their own next to their other tests; `tests/README.md` lists all.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.adapters.adobe_console.http_client_secrets import _record
from app.adapters.jwt_verifier.issuer_error import IssuerError
from app.adapters.jwt_verifier.token_review import review_holds
from app.adapters.redis.purge_feed import _purge
from app.api.batch_items import parse_items
from app.api.token import _reported_sha256
from app.audit.lines import unwrapped
from app.domain.adobe_import import ImportFileError
from app.domain.app_document import AppName, app_of, app_reader, stored_app
from app.domain.certificate_file import CertificateFileError, certificate_file
from app.domain.certificate_rotation_state import CertificateRotationState
from app.domain.credential_document import parse_credential
from app.domain.dependency_errors import DependencyError
from app.domain.document_changes import document_changes
from app.domain.errors import BrokerError, InvalidRequestError
from app.domain.gateway_error import explain_gateway
from app.domain.import_file import input_digest, parse_import
from app.domain.import_options import ImportOptions
from app.domain.leaked_token import parse_leaked_token
from app.domain.names import DEFAULT_CREDENTIAL
from app.domain.pem import PemError, certificate_pem, private_key_pem
from app.domain.probe_answer import may_be_probed
from app.domain.rfc3339 import rfc3339
from app.domain.secret_rotation_state import ConsoleIds, RotationError, RotationState
from app.domain.strict_json import strict_json
from app.domain.tenant_errors import CredentialMisconfiguredError
from app.domain.token_response import readable_claims
from app.hosts import DEFAULT_IMS_BASE_URL
from tests.support import adobe_files, spoiled
from tests.support.documents import (
    ALLOWED,
    PRIVATE_KEY,
    app_document,
    app_org_document,
    jwt_document,
    oauth_document,
    ref_of,
)
from tests.support.tenants import Tenant

REF, APP = ref_of(1), AppName("shop")
TENANT = Tenant(DEFAULT_IMS_BASE_URL)
SIGNING = Tenant(DEFAULT_IMS_BASE_URL, kind="jwt", org=TENANT.org)
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nY2FuYXJ5LTdkMWY=\n-----END CERTIFICATE-----\n"
BYTES = st.binary(max_size=200)


class Parser(NamedTuple):
    """One parser.

    Args:
        parse: It, with one argument.
        inputs: What it is given.
        errors: The errors that it declares.

    """

    parse: Callable[[Any], object]
    inputs: st.SearchStrategy[Any]
    errors: tuple[type[Exception], ...] = ()


def token_of(claims: object) -> str:
    """A JWT with these claims, which no one signed."""
    return f"eyJhbGciOiJSUzI1NiJ9.{base64.urlsafe_b64encode(spoiled.encoded(claims)).decode().rstrip('=')}.c2ln"


def leaked(text: str) -> None:
    """Read a token that was found, and write its end down, as the report of an incident does."""
    found = parse_leaked_token(text)
    if found.expires_at is not None:
        try:
            rfc3339(found.expires_at)
        except ValueError as error:
            raise AssertionError("a time that cannot be written") from error


def credential(document: object) -> None:
    """Read a credential's document as a store does: its app first."""
    app = app_of(document)
    shared = None if app is None else stored_app(app, app_document(), "1")
    parse_credential(document, REF, "7", ALLOWED, shared)


def of_app(document: object) -> None:
    """Read a credential whose app's document is `document`."""
    parse_credential(app_org_document(REF, APP), REF, "7", ALLOWED, stored_app(APP, document, "1"))


def state_of_secret(document: dict[str, object]) -> None:
    """Read the state of a rotation, and write it down again."""
    state = RotationState.parsed(document)
    assert math.isfinite(state.since)
    assert RotationState.parsed(state.document()) == state


def imported(options: ImportOptions) -> Callable[[bytes], object]:
    """Import a file with these options."""

    def parse(content: bytes) -> object:
        input_digest(content, DEFAULT_CREDENTIAL, options)
        return parse_import(content, DEFAULT_CREDENTIAL, options)

    return parse


def is_object(document: object) -> bool:
    """Whether it is what `strict_json` gives for a JSON object."""
    return isinstance(document, dict)


FILES = st.sampled_from([
    oauth_document(REF), jwt_document(REF), app_org_document(REF, APP), {"org_id": REF.org},
    adobe_files.aem_service_credentials(SIGNING), adobe_files.oauth_project(TENANT), adobe_files.jwt_project(SIGNING),
    adobe_files.aio_jwt(SIGNING), adobe_files.aio_oauth(TENANT), adobe_files.postman(TENANT, signs=False),
    adobe_files.postman(SIGNING, signs=True), adobe_files.console_download(TENANT),
])  # fmt: skip
IMPORTED = FILES.flatmap(spoiled.spoiled).map(spoiled.encoded) | spoiled.JSON.map(spoiled.encoded) | BYTES
CLAIMS = spoiled.spoiled({"client_id": "a", "created_at": "1900000000000", "expires_in": "86400000", "org": REF.org})
STATE = {"rotation": "client_secret", "step": "added", "old": "u", "since": 1.5, "run": "r", "new": "n", "digest": "d"}
PAIR = {"private_key": PRIVATE_KEY, "certificate": CERTIFICATE}
REVIEW = {
    "kind": "TokenReview",
    "status": {"authenticated": True, "audiences": ["broker"], "user": {"username": "system:serviceaccount:a:b"}},
}
SECRET = {
    "uuid": "00000000-0000-0000-0000-000000000000",
    "created_at": "1900000000000",
    "secret_usages": [{"last_used_at": "1900000000000"}],
}
LINES = st.lists(
    BYTES
    | st.builds(b"2026-01-01T00:00:00Z stdout %b %b".__mod__, st.tuples(st.sampled_from([b"F", b"P"]), BYTES))
    | spoiled.spoiled({"log": "a\n", "stream": "stdout"}).map(spoiled.encoded),
    max_size=5,
)

PARSERS = {
    "any JSON": Parser(strict_json, BYTES | spoiled.JSON.map(spoiled.encoded), (ValueError,)),
    "deep JSON": Parser(strict_json, st.integers(1, 100_000).map(lambda depth: b"[" * depth), (ValueError,)),
    "POST /tokens": Parser(
        parse_items,
        spoiled.spoiled({"items": [{"org": REF.org, "scope": "openid", "min_ttl": 60}]}).map(spoiled.encoded) | BYTES,
        (InvalidRequestError,),
    ),
    "POST /token/report": Parser(
        _reported_sha256,
        spoiled.spoiled({"token_sha256": "0" * 64}).map(spoiled.encoded) | BYTES,
        (InvalidRequestError,),
    ),
    "claims of a token": Parser(readable_claims, spoiled.TEXT | CLAIMS.map(token_of)),
    "a leaked token": Parser(leaked, spoiled.TEXT | CLAIMS.map(token_of), (ValueError,)),
    "a credential": Parser(
        credential,
        st.sampled_from([oauth_document(REF), jwt_document(REF), app_org_document(REF, APP)]).flatmap(spoiled.spoiled),
        (CredentialMisconfiguredError,),
    ),
    "the document of an app": Parser(of_app, spoiled.spoiled(app_document()), (CredentialMisconfiguredError,)),
    "an app's fields": Parser(
        app_reader, spoiled.spoiled(app_document()).filter(is_object), (CredentialMisconfiguredError,)
    ),
    "the console's numbers": Parser(
        ConsoleIds.of,
        spoiled.spoiled({"console_org_id": "1", "console_credential_id": "2"}).filter(is_object),
        (CredentialMisconfiguredError,),
    ),
    "the state of a secret's rotation": Parser(
        state_of_secret, spoiled.spoiled(STATE).filter(is_object), (RotationError,)
    ),
    "the state of a certificate's rotation": Parser(
        CertificateRotationState.parsed,
        spoiled.spoiled({"rotation": "certificate", "step": "prepared", "new": PAIR, "old": PAIR}).filter(is_object),
        (RotationError,),
    ),
    "changes of a document": Parser(
        lambda document: document_changes(jwt_document(REF), document),
        spoiled.spoiled(jwt_document(REF)).filter(is_object),
    ),
    "a file to import": Parser(imported(ImportOptions()), IMPORTED, (ImportFileError,)),
    "a file to import with a key": Parser(
        imported(ImportOptions(org=REF.org, private_key=PRIVATE_KEY, certificate=CERTIFICATE)),
        IMPORTED,
        (ImportFileError,),
    ),
    "a file whose key is moved": Parser(
        imported(ImportOptions(transit_key="ims-{org}", many=True)), IMPORTED, (ImportFileError,)
    ),
    "a file of an app": Parser(imported(ImportOptions(app=APP)), IMPORTED, (ImportFileError,)),
    "a certificate's file": Parser(
        certificate_file,
        IMPORTED | BYTES.map(lambda content: CERTIFICATE.encode() + content),
        (CertificateFileError,),
    ),
    "PEM of a key": Parser(private_key_pem, spoiled.JSON | st.just([PRIVATE_KEY]), (PemError,)),
    "PEM of a certificate": Parser(certificate_pem, spoiled.JSON | st.just([CERTIFICATE]), (PemError,)),
    "an error of Adobe's gateway": Parser(lambda code: explain_gateway(403, code), spoiled.JSON),
    "the URL of a probe": Parser(may_be_probed, spoiled.TEXT | spoiled.TEXT.map("https://platform.adobe.io{}".format)),
    "a secret of Adobe's console": Parser(_record, spoiled.spoiled(SECRET), (DependencyError,)),
    "a TokenReview": Parser(
        lambda body: review_holds(body, ("broker",), "system:serviceaccount:a:b"),
        spoiled.spoiled(REVIEW).map(spoiled.encoded) | BYTES,
        (IssuerError,),
    ),
    "an entry of the purge stream": Parser(
        _purge,
        st.dictionaries(st.sampled_from([b"org", b"credential", b"epoch"]), BYTES | st.just(b"9" * 5_000)),
    ),
    "the lines of a log": Parser(lambda lines: [line.record() for line in unwrapped("audit.log", lines)], LINES),
}


@pytest.mark.parametrize("name", PARSERS)
def test_nothing_but_the_declared_errors_comes_out(name: str) -> None:
    """A parser gives a value or a declared error, for random bytes and for good documents with spoiled places."""
    parser = PARSERS[name]

    @given(parser.inputs)
    def holds(value: object) -> None:
        try:
            parser.parse(value)
        except parser.errors as error:
            # What a person reads can be written down.
            (error.detail if isinstance(error, BrokerError) else str(error)).encode()

    holds()


def test_good_documents_are_accepted() -> None:
    """The documents that are spoiled above are good before that, so that more than the first check is reached."""
    parse_items(json.dumps({"items": [{"org": REF.org}]}).encode())
    for document in (oauth_document(REF), jwt_document(REF), app_org_document(REF, APP)):
        credential(document)
    of_app(app_document())
    state_of_secret(dict(STATE))
    CertificateRotationState.parsed({"step": "prepared", "new": PAIR, "old": PAIR})
    assert review_holds(spoiled.encoded(REVIEW), ("broker",), "system:serviceaccount:a:b")
    assert _record(SECRET).last_used_at == 1_900_000_000.0
    leaked(token_of({"created_at": "1900000000000", "expires_in": "86400000"}))


POSTMAN = {"name": "a", "values": [{"key": "CLIENT_ID", "value": "a"}, {"key": ["CLIENT_SECRET"], "value": ["b"]}]}
FOUND = [
    ("a leaked token", token_of({"created_at": "9" * 400, "expires_in": "1"})),
    ("a leaked token", token_of({"created_at": "9" * 15, "expires_in": "1"})),
    ("the state of a secret's rotation", {**STATE, "since": "nan"}),
    ("the state of a secret's rotation", {**STATE, "since": 10**400}),
    ("the state of a certificate's rotation", {"step": [], "new": PAIR, "old": PAIR}),
    ("a secret of Adobe's console", {**SECRET, "secret_usages": 1}),
    ("a file to import", spoiled.encoded(POSTMAN)),
    ("a file to import", spoiled.encoded({**oauth_document(REF), "client_id": ["a"]})),
]


@pytest.mark.parametrize(("name", "value"), FOUND)
def test_what_once_ended_in_another_error(name: str, value: object) -> None:
    """Each of these inputs once ended in an error that the command line does not expect, with a traceback."""
    parser = PARSERS[name]
    try:
        parser.parse(value)
    except parser.errors:
        return
