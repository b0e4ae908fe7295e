"""Assembles what `cert rotate` needs besides the credential tools."""

from __future__ import annotations

from collections.abc import Callable

from app.adapters.certificates import certificate_facts
from app.bootstrap.credential_tools import CredentialTools
from app.lifecycle.certificate_rotation import CertificateRotation
from app.ports import Clock


def certificate_rotation(
    tools: CredentialTools, clock: Clock, heard: Callable[[str], None] = lambda _step: None
) -> CertificateRotation:
    """What replaces certificates in the store of `tools`.

    Args:
        tools: The store, and real exchanges.
        clock: Unix time in seconds.
        heard: As of `CertificateRotation`.

    """
    return CertificateRotation(tools.documents, tools.store, tools.canary, certificate_facts, clock, heard)
