"""Checks whether the keys of an issuer can be read."""

from __future__ import annotations

from app.adapters.jwt_verifier.issuer_error import IssuerError
from app.adapters.jwt_verifier.key_source import KeySource
from app.diagnosis import CheckFinding, failed, fine
from app.domain.identity import Issuer
from app.egress import EgressProxy
from app.process.own_threads import OwnThreads


async def issuer_finding(issuer: Issuer, threads: OwnThreads, proxy: EgressProxy | None) -> CheckFinding:
    """How many usable keys the issuer publishes.

    Args:
        issuer: The issuer, from the policy.
        threads: Run blocking work.
        proxy: The egress proxy, or None to connect directly.

    """
    source = KeySource(issuer, threads, proxy)
    try:
        keys = await source.parse(await source.read())
    except IssuerError as error:
        return failed(
            f"Its keys are unavailable: {error.reason}.", "Check jwks_url or jwks_file of the issuer in the policy."
        )
    if not len(keys):
        return failed(
            "It publishes no usable key: all its JWTs are refused.", "Check jwks_url or jwks_file in the policy."
        )
    return fine(f"{len(keys)} usable key{'' if len(keys) == 1 else 's'}.")
