"""Callers' JWTs: verified offline against the keys of the policy's issuers."""

from app.adapters.jwt_verifier.issuer_diagnosis import issuer_finding, token_review_finding
from app.adapters.jwt_verifier.issuer_keys import Pace
from app.adapters.jwt_verifier.verifier import JwtCallerVerifier

__all__ = ["JwtCallerVerifier", "Pace", "issuer_finding", "token_review_finding"]
