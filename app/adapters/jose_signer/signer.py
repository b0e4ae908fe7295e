"""Signs assertions with python-jose and a private key held in memory; the only module that imports `jose`.

A key is parsed once per generation of its credential.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial

from cachetools import LRUCache
from jose import jwk, jws
from jose.backends.base import Key

from app.adapters.jose_signer.private_key import signing_key
from app.domain.credential import Credential
from app.domain.dependency_errors import OverloadedError
from app.domain.names import CredentialRef
from app.process.own_threads import OwnThreads, ThreadsClosedError
from app.process.single_flight import SingleFlight

_TOO_MANY = "Too many private keys wait to be parsed."


class JoseAssertionSigner:
    """Signs RS256 with the credential's own ``private_key``.

    Args:
        max_keys: The number of parsed keys that are kept, one per credential.
        max_waiting: The number of keys that may wait to be parsed.
        deadline: Seconds for which a signature may wait for its key.

    """

    def __init__(self, max_keys: int = 4096, max_waiting: int = 2048, deadline: float = 5.0) -> None:
        self._deadline = deadline
        # One entry per credential: the key of a newer generation replaces the older one.
        self._keys = LRUCache[CredentialRef, tuple[str, Key]](max_keys)
        self._parsing = SingleFlight[tuple[CredentialRef, str], Key](
            max_waiting, name="private-key", too_many_calls=_TOO_MANY
        )
        self._threads = OwnThreads("private-key", threads=1, waiting=max_waiting)

    async def sign(self, credential: Credential, claims: Mapping[str, object]) -> str:
        """Sign `claims` as a compact JWS with the header ``{"alg":"RS256","typ":"JWT"}``.

        Raises:
            CredentialMisconfiguredError: ``private_key``, its passphrase or ``certificate`` is not valid.
            OverloadedError: Too many keys wait to be parsed.

        """
        key = self._remembered(credential) or await self._parsed(credential)
        # IMS refuses an `exp` that is not an integer, and python-jose would keep a float (docs/ims.md section 1.3).
        whole = {name: int(value) if isinstance(value, float) else value for name, value in claims.items()}
        return jws.sign(whole, key, algorithm="RS256")

    def close(self) -> None:
        """Drop all keys and end the thread."""
        self._keys.clear()
        self._threads.close()

    def _remembered(self, credential: Credential) -> Key | None:
        generation, key = self._keys.get(credential.ref, ("", None))
        if key is None or generation != credential.generation:
            return None
        return key

    async def _parsed(self, credential: Credential) -> Key:
        try:
            async with asyncio.timeout(self._deadline):
                return await self._parsing.join(
                    (credential.ref, credential.generation), partial(self._parse, credential)
                )
        except TimeoutError:
            raise OverloadedError(_TOO_MANY) from None
        except ThreadsClosedError:
            raise OverloadedError("The broker is shutting down.") from None

    async def _parse(self, credential: Credential) -> Key:
        key = await self._threads.run(partial(_signing_key, credential))
        self._keys[credential.ref] = (credential.generation, key)
        return key


def _signing_key(credential: Credential) -> Key:
    return jwk.construct(signing_key(credential), algorithm="RS256")  # type: ignore[arg-type]  # stubs omit key objects
