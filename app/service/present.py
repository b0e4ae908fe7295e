"""Presents one client secret of a credential at IMS: signs an assertion if its kind needs one, and exchanges."""

from __future__ import annotations

from collections.abc import Mapping

from app.domain.assertion import assertion_claims
from app.domain.credential import Credential
from app.domain.grant import IssuedToken, grant_of
from app.domain.names import Scope
from app.domain.signing import REMOTE_SCHEMES, SigningKey
from app.domain.tenant_errors import CredentialMisconfiguredError
from app.ports import AssertionSigner, Clock, TokenExchanger


class Presenter:
    """Presents credentials. It remembers nothing: each call is one exchange.

    Args:
        signers: The signer of each scheme of keys (`SigningKey`).
        exchanger: Exchanges grants at IMS.
        clock: Unix time in seconds.

    """

    def __init__(self, signers: Mapping[str, AssertionSigner], exchanger: TokenExchanger, clock: Clock) -> None:
        self._signers = signers
        self._exchanger = exchanger
        self._clock = clock

    async def present(self, credential: Credential, scopes: tuple[Scope, ...], number: int) -> IssuedToken:
        """Exchange `credential` with its secret of this `number`, which counts from 0.

        Raises:
            TenantError: The credential does not work.
            DependencyError: The signer or IMS does not answer.

        """
        assertion = None
        if credential.signing is not None:
            claims = assertion_claims(credential, scopes, self._clock())
            assertion = await self._signer(credential.signing).sign(credential, claims)
        return await self._exchanger.exchange(
            grant_of(credential, scopes, credential.client_secrets[number], assertion)
        )

    def _signer(self, key: SigningKey) -> AssertionSigner:
        signer = self._signers.get(key.scheme)
        if signer is None:
            scheme = REMOTE_SCHEMES[key.scheme]
            raise CredentialMisconfiguredError(scheme.field, f"needs {scheme.needs}")
        return signer
