"""What the rotation of a certificate writes down before each step, so that it can go on after a crash."""

from __future__ import annotations

import pytest

from app.domain.app_document import AppName
from app.domain.certificate_rotation_state import (
    CertificateRotationState,
    CertificateStep,
    SigningPair,
    signing_fields,
    with_signing,
)
from app.domain.secret_owner import SecretOwner
from app.domain.secret_rotation_state import RotationError
from app.domain.stored_document import certificate_rotation_path, migration_path, rotation_path
from tests.factories import OTHER_REF, REF

OLD: dict[str, object] = {"private_key": "old key", "private_key_passphrase": "p", "certificate": "old certificate"}


@pytest.mark.parametrize("passphrase", [None, "secret"])
@pytest.mark.parametrize("step", CertificateStep)
def test_what_was_written_is_read_again(step: CertificateStep, passphrase: str | None) -> None:
    """A state survives storing, with the new pair and the old fields; no key is in its repr."""
    state = CertificateRotationState(CertificateStep.PREPARED, SigningPair("new key", "new", passphrase), OLD).at(step)
    assert CertificateRotationState.parsed(state.document()) == state
    assert ("private_key_passphrase" in state.new.fields()) is (passphrase is not None)
    assert "key" not in repr(state).replace("private_key", "")
    assert "secret" not in repr(state)


@pytest.mark.parametrize("change", [
    {"new": None}, {"old": []}, {"step": "done"}, {"step": None}, {"new": {"private_key": "a"}},
    {"new": {"private_key": 1, "certificate": "a"}},
    {"new": {"private_key": "a", "certificate": "a", "private_key_passphrase": 1}},
])  # fmt: skip
def test_anything_else_is_refused(change: dict[str, object]) -> None:
    """A state that was changed by hand is not used: the message says what to compare."""
    good = CertificateRotationState(CertificateStep.WRITTEN, SigningPair("a", "b"), OLD).document()
    with pytest.raises(RotationError, match="_certificates"):
        CertificateRotationState.parsed({**good, **change})


def test_the_fields_of_a_pair_are_replaced_together() -> None:
    """A new key without a passphrase takes the old passphrase away; the other fields stay."""
    document = {"kind": "jwt", **OLD}
    assert signing_fields(document) == OLD
    assert with_signing(document, SigningPair("k", "c").fields()) == {
        "kind": "jwt",
        "private_key": "k",
        "certificate": "c",
    }


def test_states_are_kept_apart_from_credentials_and_from_each_other() -> None:
    """Each kind of state has its folder, by the credential; that of an app is the same for all of its orgs."""
    paths = {path(REF) for path in (certificate_rotation_path, migration_path, rotation_path)}
    owner, of_app, of_other = (
        SecretOwner(REF),
        SecretOwner(REF, AppName("shop")),
        SecretOwner(OTHER_REF, AppName("shop")),
    )
    paths |= {owner.document_path, of_app.document_path, of_app.state_path}
    assert len(paths) == 6
    assert owner.state_path == rotation_path(REF)
    assert (of_app.document_path, of_app.state_path) == (of_other.document_path, of_other.state_path)
    assert {path.parts[0] for path in paths} == {"_certificates", "_migrations", "_rotations", "_apps", REF.org}
