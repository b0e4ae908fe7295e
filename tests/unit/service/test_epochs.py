"""Epochs only rise, and listeners are notified of each rise."""

from __future__ import annotations

import pytest

from app.domain.names import CredentialName, CredentialRef
from app.service.epochs import Epochs
from tests.factories import OTHER_REF, REF, make_token


def test_an_epoch_never_falls() -> None:
    """An older epoch that arrives late changes nothing."""
    epochs = Epochs()
    assert epochs.of(REF) == 0
    assert epochs.learn(REF, 3)
    assert not epochs.learn(REF, 2)
    assert not epochs.learn(REF, 3)
    assert epochs.of(REF) == 3
    assert epochs.of(OTHER_REF) == 0


def test_a_token_minted_before_the_purge_is_not_allowed() -> None:
    """Only tokens of the known epoch or a later one are allowed."""
    epochs = Epochs()
    assert epochs.allows(make_token())
    epochs.learn(REF, 2)
    assert not epochs.allows(make_token(epoch=1))
    assert epochs.allows(make_token(epoch=2))
    assert epochs.allows(make_token(epoch=3))


def test_listeners_are_notified_once_per_rise() -> None:
    """Listeners are notified of each rise, and of nothing else."""
    epochs, heard = Epochs(), list[CredentialRef]()
    epochs.when_raised(heard.append)
    epochs.learn(REF, 2)
    epochs.learn(REF, 2)
    epochs.learn(REF, 1)
    assert heard == [REF]


@pytest.mark.parametrize("in_use_first", [True, False])
def test_announcements_do_not_push_out_what_is_in_use(in_use_first: bool) -> None:
    """However many purges are announced, the epoch of a credential in use stays, and can still rise."""
    epochs = Epochs(announced=10)
    epochs.learn(REF, 2, in_use=in_use_first)
    epochs.learn(REF, 1, in_use=True)
    _announce(epochs, 100)
    assert not epochs.allows(make_token(epoch=1))
    assert epochs.learn(REF, 3)
    _announce(epochs, 100)
    assert not epochs.allows(make_token(epoch=2))
    assert len(epochs.refs()) == 11


def test_announcements_take_bounded_memory() -> None:
    """The epoch of a credential that is not in use goes with the oldest announcements."""
    epochs = Epochs(announced=10)
    epochs.learn(REF, 2)
    _announce(epochs, 10)
    assert epochs.of(REF) == 0
    assert len(epochs.refs()) == 10


def test_a_credential_that_was_never_purged_takes_no_memory() -> None:
    """A look at the shared cache that finds no purge leaves nothing behind."""
    epochs = Epochs()
    assert not epochs.learn(REF, 0, in_use=True)
    assert epochs.refs() == ()


def _announce(epochs: Epochs, count: int) -> None:
    for number in range(count):
        epochs.learn(CredentialRef(OTHER_REF.org, CredentialName(f"forged-{number}")), 9)


def test_a_purged_credential_is_listed_once() -> None:
    """Also if its purge was announced before the credential was in use."""
    epochs = Epochs()
    epochs.learn(REF, 2)
    epochs.learn(REF, 2, in_use=True)
    assert epochs.refs() == (REF,)
