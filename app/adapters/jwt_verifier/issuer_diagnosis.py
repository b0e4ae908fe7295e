"""Checks whether the keys of an issuer can be read, and whether its tokens can be reviewed."""

from __future__ import annotations

from app.adapters.jwt_verifier.issuer_error import IssuerError
from app.adapters.jwt_verifier.key_source import KeySource
from app.adapters.jwt_verifier.token_review import CREATED, ReviewEndpoint, review_holds
from app.diagnosis import CheckFinding, failed, fine
from app.domain.identity import Issuer
from app.egress import EgressProxy
from app.process.own_threads import OwnThreads

_NOT_A_TOKEN = b"doctor"
"""No API server accepts it: the answer shows whether a review is allowed, and no caller's token is needed."""

_REVIEW_REMEDIES = {
    401: "Check token_review_token_file of the issuer in the policy: the API server does not accept its token.",
    403: "Let the broker's service account create tokenreviews: docs/callers.md has the ClusterRole.",
    404: "Check token_review_url: it ends with /apis/authentication.k8s.io/v1/tokenreviews.",
}
_REVIEW_REMEDY = "Check token_review_url, token_review_ca_file and the network policy."


async def issuer_finding(issuer: Issuer, threads: OwnThreads, proxy: EgressProxy | None) -> CheckFinding:
    """How many usable keys the issuer publishes.

    Args:
        issuer: The issuer, from the policy.
        threads: Threads for blocking work.
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


async def token_review_finding(issuer: Issuer, threads: OwnThreads, proxy: EgressProxy | None) -> CheckFinding:
    """Whether the API server reviews tokens for the broker.

    Args:
        issuer: The issuer, from the policy; it has a `token_review_url`.
        threads: Run blocking work.
        proxy: The egress proxy, or None to connect directly.

    """
    try:
        status, body = await ReviewEndpoint(issuer, threads, proxy).ask(_NOT_A_TOKEN)
        if status not in CREATED:
            word = "does not let the broker review tokens" if status in {401, 403} else "does not review tokens"
            remedy = _REVIEW_REMEDIES.get(status, _REVIEW_REMEDY)
            return failed(f"The API server {word}: HTTP {status}.", remedy)
        review_holds(body, issuer.audiences, "")
    except IssuerError as error:
        return failed(f"Tokens cannot be reviewed: {error.reason}.", _REVIEW_REMEDY)
    return fine("The API server answers, and lets the broker review tokens.")
