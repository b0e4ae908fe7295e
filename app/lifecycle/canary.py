"""The canary: proves that a document works before anything is written, and after it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from app.domain.app_document import StoredApp
from app.domain.credential import Credential
from app.domain.credential_document import parse_credential
from app.domain.grant import IssuedToken
from app.domain.names import CredentialRef
from app.domain.tenant_errors import CredentialRejectedError
from app.service.present import Presenter

ACCEPT_SECONDS = 60.0
"""How long IMS may refuse a secret that was added just now."""

_ACCEPT_PAUSE = 2.0

_CANDIDATE = "candidate"
"""The generation of a document that is not stored yet."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A real exchange that succeeded.

    Args:
        credential: The credential that was presented.
        token: The token that IMS issued.
        number: The number of the client secret, from 0.

    """

    credential: Credential
    token: IssuedToken = field(repr=False)
    number: int = 0


class Canary:
    """Makes real exchanges with documents that need not be stored.

    Args:
        presenter: Presents a credential at IMS.
        allowed_base_urls: The allow-list of IMS hosts, each as `normal_ims_base_url` gives it.

    """

    def __init__(self, presenter: Presenter, allowed_base_urls: frozenset[str]) -> None:
        self._presenter = presenter
        self._allowed_base_urls = allowed_base_urls

    def parsed(self, ref: CredentialRef, document: Mapping[str, object], app: StoredApp | None = None) -> Credential:
        """The credential that the broker would read from `document`, which may name an app.

        Raises:
            CredentialMisconfiguredError: The document is defective.

        """
        return parse_credential(document, ref, _CANDIDATE, self._allowed_base_urls, app)

    async def prove(self, credential: Credential) -> tuple[Proof, ...]:
        """Exchange `credential` with each of its client secrets, for all its scopes.

        Raises:
            TenantError: IMS refuses a secret.
            DependencyError: The signer or IMS does not answer.

        """
        return tuple([await self.present(credential, number) for number in range(len(credential.client_secrets))])

    async def present(self, credential: Credential, number: int = 0) -> Proof:
        """Exchange `credential` with its secret of this `number`, which counts from 0. Raises as `prove`."""
        token = await self._presenter.present(credential, credential.scopes, number)
        return Proof(credential, token, number)

    async def accepted(self, credential: Credential) -> Proof:
        """Exchange `credential` with the first of its secrets that IMS accepts. Raises as `prove`."""
        refusal: CredentialRejectedError | None = None
        for number in range(len(credential.client_secrets)):
            try:
                return await self.present(credential, number)
            except CredentialRejectedError as error:
                if not error.secret_refused:
                    raise
                refusal = refusal or error
        assert refusal is not None  # noqa: S101  # a credential has one or two secrets
        raise refusal

    async def until_accepted(self, credential: Credential, sleep: Callable[[float], Awaitable[None]]) -> Proof:
        """Exchange `credential` with its first secret, which IMS may not know yet. Raises as `prove`.

        Args:
            credential: The credential to present.
            sleep: Waits for some seconds.

        """
        waited = 0.0
        while True:
            try:
                return await self.present(credential)
            except CredentialRejectedError as error:
                if not error.secret_refused or waited >= ACCEPT_SECONDS:
                    raise
            await sleep(_ACCEPT_PAUSE)
            waited += _ACCEPT_PAUSE
