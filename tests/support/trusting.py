"""A verifier of callers' JWTs that already has an issuer's keys."""

from __future__ import annotations

from pathlib import Path

from app.adapters.jwt_verifier import JwtCallerVerifier, Pace
from app.domain.identity import Issuer
from tests.support.fetches import Fetches
from tests.support.issuer import AUDIENCE, LocalIssuer
from tests.support.manual_time import ManualTime

NOW = 1_900_000_000.0
"""Unix time in seconds by which it judges claims."""


async def trusting(issuer: LocalIssuer, folder: Path) -> JwtCallerVerifier:
    """A verifier that read the issuer's keys from a file, once."""
    (folder / "jwks.json").write_bytes(issuer.body())
    time, fetches = ManualTime(), Fetches()
    verifier = JwtCallerVerifier(lambda: NOW, fetches, Pace(monotonic=time.now, sleep=time.sleep))
    verifier.trust((Issuer(issuer.name, (AUDIENCE,), jwks_file=str(folder / "jwks.json")),))
    await fetches.reach(1)
    return verifier
