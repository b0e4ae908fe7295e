"""Checks a credential by real exchanges, and if asked by one call of an Adobe API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.domain.credential import Credential
from app.domain.errors import BrokerError
from app.domain.gateway_error import GatewayError, explain_gateway
from app.domain.names import CredentialRef
from app.domain.probe_answer import ProbeUnavailableError
from app.domain.tenant_errors import CredentialMisconfiguredError
from app.lifecycle.canary import Canary, Proof
from app.ports import ApiProbe, CertificateEnd, CredentialStore


@dataclass(frozen=True, slots=True)
class SecretCheck:
    """The exchange with one client secret.

    Args:
        number: The secret, from 1.
        lifetime: The life of the token in seconds; None if there was no token.
        error: Why it failed.

    """

    number: int
    lifetime: float | None
    error: BrokerError | None = None


@dataclass(frozen=True, slots=True)
class ProbeCheck:
    """The call of an Adobe API.

    Args:
        status: The HTTP status; None without an answer.
        error: What the answer means, if it is not a success.
        unavailable: Why there was no answer.

    """

    status: int | None
    error: GatewayError | None = None
    unavailable: ProbeUnavailableError | None = None


@dataclass(frozen=True, slots=True)
class Checkup:
    """What was found out about a credential.

    Args:
        ref: The credential.
        credential: What the store has; None if it cannot be read.
        error: Why it failed.
        certificate_ends: Unix time in seconds; None without a certificate.
        secrets: The exchange with each client secret.
        probe: The call of an API; None if none was asked for, or there is no token.

    """

    ref: CredentialRef
    credential: Credential | None
    error: BrokerError | None = None
    certificate_ends: float | None = None
    secrets: tuple[SecretCheck, ...] = ()
    probe: ProbeCheck | None = None

    @property
    def ok(self) -> bool:
        """Whether all that was tried works. One of two secrets is enough for the broker, but it is not in order."""
        probed = self.probe is None or (self.probe.error is None and self.probe.unavailable is None)
        return self.error is None and probed and all(check.error is None for check in self.secrets)


class Checkups:
    """Makes checkups.

    Args:
        store: Reads credentials, as the broker does.
        canary: Makes real exchanges.
        probe: Calls an API.
        not_after: Returns when a PEM certificate expires.

    """

    def __init__(self, store: CredentialStore, canary: Canary, probe: ApiProbe, not_after: CertificateEnd) -> None:
        self._store = store
        self._canary = canary
        self._probe = probe
        self._not_after = not_after

    async def check(self, ref: CredentialRef, probe_url: str | None = None) -> Checkup:
        """Check one credential; every failure is part of the answer.

        Args:
            ref: The credential.
            probe_url: A URL that `may_be_probed`, or None.

        """
        try:
            credential = await self._store.fetch(ref)
            ends = None if credential.certificate is None else self._not_after(credential.certificate)
        except BrokerError as error:
            return Checkup(ref, None, error)
        checks, proof = await self._exchanges(credential)
        probed = None if proof is None or probe_url is None else await self._probed(proof, probe_url)
        return Checkup(ref, credential, None, ends, checks, probed)

    async def read(self, ref: CredentialRef) -> Checkup:
        """Read one credential without an exchange."""
        try:
            credential = await self._store.fetch(ref)
        except BrokerError as error:
            return Checkup(ref, None, error)
        try:
            ends = None if credential.certificate is None else self._not_after(credential.certificate)
        except CredentialMisconfiguredError as error:
            return Checkup(ref, credential, error)
        return Checkup(ref, credential, None, ends)

    async def _exchanges(self, credential: Credential) -> tuple[tuple[SecretCheck, ...], Proof | None]:
        checks, proof = list[SecretCheck](), None
        for number in range(len(credential.client_secrets)):
            try:
                made = await self._canary.present(credential, number)
            except BrokerError as error:
                checks.append(SecretCheck(number + 1, None, error))
            else:
                proof = proof or made
                checks.append(SecretCheck(number + 1, made.token.expires_at - made.token.issued_at))
        return tuple(checks), proof

    async def _probed(self, proof: Proof, url: str) -> ProbeCheck:
        try:
            answer = await self._probe.get(url, _headers(proof))
        except ProbeUnavailableError as error:
            return ProbeCheck(None, unavailable=error)
        return ProbeCheck(answer.status, explain_gateway(answer.status, answer.code))


def _headers(proof: Proof) -> Mapping[str, str]:
    credential = proof.credential
    sandbox = {} if credential.sandbox is None else {"x-sandbox-name": credential.sandbox}
    return {
        "Authorization": f"Bearer {proof.token.value}",
        "x-api-key": credential.client_id,
        "x-gw-ims-org-id": credential.ref.org,
        **sandbox,
    }
