"""Epochs only rise, and listeners are notified of each rise."""

from __future__ import annotations

from app.domain.names import CredentialRef
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
