"""Assembles what `org import` needs besides the credential tools."""

from __future__ import annotations

from app.adapters.certificates import certificate_facts
from app.bootstrap.credential_tools import CredentialTools
from app.domain.key_move import TRANSIT
from app.lifecycle.import_credential import Importer
from app.lifecycle.move_key import KeyMover
from app.ports import Clock


def importer(tools: CredentialTools, clock: Clock) -> Importer:
    """What imports credentials into the store of `tools`.

    Args:
        tools: The store, and real exchanges.
        clock: Unix time in seconds.

    """
    mover = KeyMover(tools.remote_keys.get(TRANSIT))
    return Importer(tools.documents, tools.store, tools.canary, mover, certificate_facts, clock)
