"""Signs with a key that never leaves AWS KMS."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from functools import partial

from app.adapters.aws_kms.kms_answers import CLOSED, KMS_FIELD, SATURATED, SLOW
from app.adapters.aws_kms.kms_clients import KmsClients, KmsConfig
from app.domain.compact_jws import base64url, signing_input
from app.domain.credential import Credential
from app.domain.dependency_errors import CredentialStoreError
from app.domain.errors import BrokerError
from app.domain.kms_key import KmsKey, parse_kms_key
from app.domain.signing import RemoteKey
from app.domain.tenant_errors import CredentialMisconfiguredError
from app.ports import EventSink
from app.process.observed_call import ObservedCall
from app.process.own_threads import OwnThreads, ThreadsBusyError, ThreadsClosedError

KMS_THREADS = 8
MAX_WAITING_SIGNATURES = 2_000
"""The number of calls that may wait for a thread; one more fails at once."""

_NO_KEY = KmsKey("00000000-0000-0000-0000-000000000000")

SIGNING_SECONDS = 4.0
"""Seconds for one signature in all, with the login that it may need: as for a call to Vault."""


class KmsSigner:
    """The `AssertionSigner` for credentials that have a ``kms_key``.

    Args:
        config: The region and URL of AWS KMS.
        events: Takes an event of each call.
        deadline: Seconds for one signature.
        threads: The number of calls that run at once.
        waiting: The number of calls that may wait for a thread.

    """

    def __init__(
        self,
        config: KmsConfig,
        events: EventSink,
        *,
        deadline: float = SIGNING_SECONDS,
        threads: int = KMS_THREADS,
        waiting: int = MAX_WAITING_SIGNATURES,
    ) -> None:
        self._clients = KmsClients(config)
        self._region = config.region
        self._events = events
        self._threads = OwnThreads("kms", threads=threads, waiting=waiting, deadline=deadline)

    async def sign(self, credential: Credential, claims: Mapping[str, object]) -> str:
        """Let AWS KMS sign `claims` with RS256; the answer is a compact JWS.

        Raises:
            CredentialMisconfiguredError: The key does not exist, cannot sign, or is not allowed to the broker.
            CredentialStoreError: AWS KMS is unusable, does not answer in time, or does not know the broker.

        """
        key = _key_of(credential)
        signed = signing_input(claims)
        work = partial(self._clients.sign, key, hashlib.sha256(signed.encode()).digest())
        elsewhere = key.region not in {None, self._region}
        with ObservedCall(self._events, "kms", "sign", _outcome_of, reason_of=_reason_of, elsewhere=elsewhere):
            signature = await self._run(work)
        return f"{signed}.{base64url(signature)}"

    async def reach(self) -> None:
        """Ask for a signature with a key that does not exist; the refusal says that KMS knows the broker.

        Raises:
            CredentialStoreError: As `sign`.

        """
        with contextlib.suppress(CredentialMisconfiguredError):
            await self._run(partial(self._clients.sign, _NO_KEY, bytes(32)))

    def close(self) -> None:
        """Drop waiting calls and let the threads end."""
        self._threads.close()

    async def _run(self, work: partial[bytes]) -> bytes:
        try:
            return await self._threads.run(work)
        except TimeoutError:
            raise CredentialStoreError(SLOW) from None
        except ThreadsBusyError:
            raise CredentialStoreError(SATURATED) from None
        except ThreadsClosedError:
            raise CredentialStoreError(CLOSED) from None


def _key_of(credential: Credential) -> KmsKey:
    if not isinstance(credential.signing, RemoteKey):
        raise CredentialMisconfiguredError(KMS_FIELD, "is needed to sign with AWS KMS")
    try:
        return parse_kms_key(credential.signing.name)
    except ValueError as error:
        raise CredentialMisconfiguredError(KMS_FIELD, str(error)) from None


def _outcome_of(error: BaseException) -> str:
    return error.code if isinstance(error, BrokerError) else CredentialStoreError.code


def _reason_of(error: BaseException) -> str | None:
    return error.detail if isinstance(error, BrokerError) else None
