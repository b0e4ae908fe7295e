"""Assembles what `org import` needs besides the credential tools."""

from __future__ import annotations

from app.adapters.certificates import certificate_not_after
from app.bootstrap.credential_tools import CredentialTools
from app.lifecycle.import_credential import Importer
from app.ports import Clock


def importer(tools: CredentialTools, clock: Clock) -> Importer:
    """What imports credentials into the store of `tools`.

    Args:
        tools: The store, and real exchanges.
        clock: Unix time in seconds.

    """
    return Importer(tools.documents, tools.store, tools.canary, certificate_not_after, clock)
