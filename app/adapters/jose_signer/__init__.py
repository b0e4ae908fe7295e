"""Assertions signed with a private key of the credential document."""

from app.adapters.jose_signer.signer import JoseAssertionSigner

__all__ = ["JoseAssertionSigner"]
