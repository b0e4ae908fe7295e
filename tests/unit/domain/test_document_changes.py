"""A change of a document is described without its values."""

from __future__ import annotations

import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from app.domain.document_changes import FieldChange, document_changes
from tests.support.documents import CANARY, jwt_document, oauth_document, ref_of
from tests.support.keys import key_pair

OLD = oauth_document(ref_of(1))


@pytest.mark.parametrize(
    "same",
    [
        oauth_document(ref_of(1), scopes="AdobeID,openid"),
        oauth_document(ref_of(1), scopes=["AdobeID", "openid"]),
        oauth_document(ref_of(1), client_secrets=f"p8e-{CANARY}-secret"),
    ],
)
def test_another_spelling_changes_nothing(same: dict[str, object]) -> None:
    """Lists as one string, and scopes in another order, are the same."""
    assert document_changes(OLD, same) == ()


def test_a_key_with_other_line_ends_changes_nothing() -> None:
    """CRLF and escaped line ends are other spellings of the same key."""
    pem = key_pair().pkcs8
    spellings = [pem, pem.replace("\n", "\r\n"), pem.replace("\n", "\\n"), pem.splitlines()]

    assert {document_changes({"private_key": pem}, {"private_key": one}) for one in spellings} == {()}


def test_secrets_are_counted_and_fingerprinted() -> None:
    """A second secret is shown as a count and the first 8 digits of each SHA-256."""
    new, old = f"p8e-{CANARY}-new", f"p8e-{CANARY}-secret"
    [change] = document_changes(OLD, {**OLD, "client_secrets": [new, old]})

    marks = [hashlib.sha256(text.encode()).hexdigest()[:8] for text in (new, old)]
    assert change.before == f"1 secret, sha256 {marks[1]}"
    assert change.after == f"2 secrets, sha256 {marks[0]} {marks[1]}"


def test_no_value_is_shown() -> None:
    """Whatever changes, no value is repeated except the kind, and of a passphrase not even a fingerprint."""
    old = jwt_document(ref_of(1), private_key_passphrase=CANARY, certificate=CANARY, sandbox=CANARY)
    changes = document_changes(old, oauth_document(ref_of(2), client_id="other", client_secrets=[f"{CANARY}2"]))

    assert CANARY not in repr(changes)
    assert ref_of(1).org not in repr(changes)
    assert FieldChange("kind", "jwt", "oauth_server_to_server") in changes
    assert FieldChange("private_key_passphrase", "set", None) in changes
    assert {change.field for change in changes} >= {"org_id", "certificate", "metascopes", "scopes", "private_key"}


def test_a_certificate_has_the_fingerprint_that_openssl_prints() -> None:
    """The fingerprint of a certificate is that of its DER."""
    pem = key_pair().certificate
    [change] = document_changes({}, {"certificate": pem})

    der = x509.load_pem_x509_certificate(pem.encode()).fingerprint(hashes.SHA256()).hex()
    assert change == FieldChange("certificate", None, f"sha256 {der[:8]}")


def test_an_odd_kind_is_not_repeated() -> None:
    """A kind that the broker does not know may be anything, so it is not shown."""
    [change] = document_changes({}, {"kind": CANARY})

    assert CANARY not in repr(change)


def test_what_is_not_pem_is_still_compared() -> None:
    """A certificate that cannot be read, or whose inside is not base64, has a fingerprint of its text."""
    odd = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----"
    changes = [document_changes({"certificate": 1}, {"certificate": text}) for text in (odd, ["a"], CANARY)]
    assert all(len(change) == 1 for change in changes)
    assert CANARY not in repr(changes)
    assert document_changes({"certificate": 1}, {"certificate": 1}) == ()
