"""Signs with a key that never leaves Vault, through its transit secrets engine."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from functools import partial

from hvac.api.secrets_engines import Transit

from app.adapters.vault.session import VaultSession
from app.adapters.vault.vault_problem import Meaning, VaultProblem, VaultProblemError
from app.adapters.vault.wire import VaultAdapter
from app.domain.compact_jws import signing_input
from app.domain.credential import Credential
from app.domain.dependency_errors import CredentialStoreError
from app.domain.signing import RemoteKey
from app.domain.tenant_errors import CredentialMisconfiguredError

_SHORTEST_RSA_SIGNATURE = 342
"""Characters of base64url: 256 bytes, of an RSA key with 2048 bits. Elliptic curves give at most 132 bytes."""

_SIGNATURE = re.compile(r"vault:v[0-9]+:([A-Za-z0-9_-]+)")


def _no_such_key() -> CredentialMisconfiguredError:
    return CredentialMisconfiguredError(
        "transit_key",
        "must name an RSA key of Vault's transit engine, and after a colon only a version of it that may sign",
    )


def _not_allowed() -> CredentialStoreError:
    return CredentialStoreError("The Vault policy does not allow the broker to sign with that transit key.")


# Vault answers 400 for a missing key or version, and for a key that cannot sign.
_MEANING: Meaning = {VaultProblem.INVALID: _no_such_key, VaultProblem.POLICY: _not_allowed}


class VaultTransitSigner:
    """The `AssertionSigner` for credentials that have a ``transit_key``.

    The latest version of the key signs, unless the credential names one.

    Args:
        session: Logs in and makes the calls.
        transit_mount: Where the transit engine is mounted.

    """

    def __init__(self, session: VaultSession, transit_mount: str) -> None:
        self._session = session
        self._mount = transit_mount.strip("/")

    async def sign(self, credential: Credential, claims: Mapping[str, object]) -> str:
        """Let Vault sign `claims` with RS256; the answer is a compact JWS.

        Raises:
            CredentialMisconfiguredError: The key or its version does not exist, or is not an RSA key.
            CredentialStoreError: Vault is unusable, or its policy denies the broker this key.

        """
        if not isinstance(credential.signing, RemoteKey):
            raise CredentialMisconfiguredError("transit_key", "is needed to sign with Vault")
        signed = signing_input(claims)
        work = partial(_sign, self._mount, credential.signing.name, signed)
        return f"{signed}.{await self._session.call('sign', work, _MEANING)}"


def key_and_version(name: str) -> tuple[str, int | None]:
    """The parts of a ``transit_key``, which is ``name`` or ``name:version``."""
    key, _, version = name.partition(":")
    return key, int(version) if version else None


def _sign(mount: str, name: str, signed: str, adapter: VaultAdapter) -> str:
    """The signature of `signed`, base64url."""
    key, version = key_and_version(name)
    answer = Transit(adapter).sign_data(  # type: ignore[no-untyped-call]  # hvac's stubs leave it open
        key,
        key_version=version,
        hash_input=base64.b64encode(signed.encode()).decode(),
        hash_algorithm="sha2-256",
        signature_algorithm="pkcs1v15",
        marshaling_algorithm="jws",
        mount_point=mount,
    )
    data = answer.get("data")
    signature = data.get("signature") if isinstance(data, Mapping) else None
    found = _SIGNATURE.fullmatch(signature) if isinstance(signature, str) else None
    if found is None:
        raise VaultProblemError(VaultProblem.UNEXPECTED_RESPONSE)
    if len(found[1]) < _SHORTEST_RSA_SIGNATURE:
        # An elliptic-curve key ignores the algorithm and signs, too; IMS would refuse that without a reason.
        raise CredentialMisconfiguredError(
            "transit_key",
            "names a key that is not RSA; create one with `vault write -f transit/keys/NAME type=rsa-2048`",
        )
    return found[1]
