"""A tenant's credential, and the kinds of credentials: each one answers for its own flow.

A new kind is a member of `CredentialKind` and a class here, which `KINDS` finds; nothing else of the broker asks for
a credential's kind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import ClassVar

from typing_extensions import override

from app.domain.names import CredentialRef, Scope
from app.domain.signing import SigningKey


class CredentialKind(StrEnum):
    """Which flow a credential uses."""

    JWT = "jwt"
    OAUTH_SERVER_TO_SERVER = "oauth_server_to_server"
    ENTERPRISE_WEB_APP = "enterprise_web_app"


class ExpiresInUnit(Enum):
    """The unit of ``expires_in`` in an endpoint's answer; the value is how many of it make a second."""

    MILLISECONDS = 1000
    SECONDS = 1


@dataclass(frozen=True, slots=True)
class RefusalHints:
    """What usually causes the refusals of IMS whose cause depends on the kind; each is a sentence with the remedy.

    Args:
        bad_request: For ``bad_request`` and ``invalid_request``.
        scope: For ``invalid_scope`` and ``invalid_target_scope``.
        not_allowed: For ``unauthorized_client`` and ``access_denied``.
        unknown_client_is_400: Whether ``invalid_client`` with status 400 means that the client does not exist.
        internal_error: For 500 ``internal_error``; empty if it means nothing in particular.

    """

    bad_request: str = "Compare the stored credential with the Adobe Developer Console."
    scope: str = (
        "A scope is unknown or not one that the client has: copy scopes from the Adobe Developer Console again."
    )
    not_allowed: str = "The client may not use this flow: check kind, which must be that of the credential at Adobe."
    unknown_client_is_400: bool = False
    internal_error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential(ABC):
    """A tenant's credential, as its document says (docs/contract.md section 2).

    Args:
        ref: Its org and name.
        generation: The version of its document.
        client_id: As Adobe gives it.
        client_secrets: One or two, tried in order.
        scopes: All that it has; for kind ``jwt`` these are its metascopes.
        technical_account_id: As Adobe gives it; None if the document has none.
        ims_base_url: The IMS host, without a trailing slash.
        certificate: PEM, or None.
        sandbox: The default for ``x-sandbox-name``, or None.
        signing: The key that signs its assertions; None for the kinds that have no assertion.

    """

    ref: CredentialRef
    generation: str
    client_id: str
    client_secrets: tuple[str, ...] = field(repr=False)
    scopes: tuple[Scope, ...]
    technical_account_id: str | None
    ims_base_url: str
    certificate: str | None = field(repr=False)
    sandbox: str | None
    signing: SigningKey | None = None

    kind: ClassVar[CredentialKind]
    path: ClassVar[str]
    """Where at IMS its grant is presented."""
    expires_in_unit: ClassVar[ExpiresInUnit]
    """The unit of that endpoint, never guessed."""
    scopes_field: ClassVar[str] = "scopes"
    """The field of the document that lists its scopes."""
    signs: ClassVar[bool] = False
    """Whether its grant is a signed assertion."""
    token_claims_scopes: ClassVar[bool] = True
    """Whether the ``scope`` claim of its tokens lists the scopes that were asked for."""
    hints: ClassVar[RefusalHints] = RefusalHints()

    @abstractmethod
    def form(self, scopes: tuple[Scope, ...], client_secret: str, assertion: str | None) -> dict[str, str]:
        """The fields to POST at `path`, urlencoded (docs/ims.md sections 1.2, 3.1 and 3.6).

        Args:
            scopes: The scopes asked for.
            client_secret: One of `client_secrets`.
            assertion: The signed assertion; None unless the kind `signs`.

        """


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtCredential(Credential):
    """Service account: a signed assertion is exchanged. `scopes` are its metascopes."""

    kind: ClassVar[CredentialKind] = CredentialKind.JWT
    path: ClassVar[str] = "/ims/exchange/jwt"
    expires_in_unit: ClassVar[ExpiresInUnit] = ExpiresInUnit.MILLISECONDS
    scopes_field: ClassVar[str] = "metascopes"
    signs: ClassVar[bool] = True
    token_claims_scopes: ClassVar[bool] = False
    hints: ClassVar[RefusalHints] = RefusalHints(
        bad_request="IMS cannot accept the assertion: check org_id, technical_account_id and ims_base_url.",
        scope="A metascope is missing, unknown, or not one that the certificate is bound to: check metascopes.",
        unknown_client_is_400=True,
        internal_error=(
            "A service account (JWT) that Adobe has already converted to OAuth Server-to-Server always answers like "
            "this: if it goes on, change the credential's kind to oauth_server_to_server."
        ),
    )

    @override
    def form(self, scopes: tuple[Scope, ...], client_secret: str, assertion: str | None) -> dict[str, str]:
        """The exchange of a signed assertion."""
        assert assertion is not None  # noqa: S101  # the kind signs
        return {"client_id": self.client_id, "client_secret": client_secret, "jwt_token": assertion}


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthServerToServerCredential(Credential):
    """Client credentials (RFC 6749 section 4.4)."""

    kind: ClassVar[CredentialKind] = CredentialKind.OAUTH_SERVER_TO_SERVER
    path: ClassVar[str] = "/ims/token/v3"
    expires_in_unit: ClassVar[ExpiresInUnit] = ExpiresInUnit.SECONDS

    @override
    def form(self, scopes: tuple[Scope, ...], client_secret: str, assertion: str | None) -> dict[str, str]:
        """The client credentials grant; scopes are joined by commas, as Adobe's own clients do."""
        return {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "client_secret": client_secret,
            "scope": ",".join(scopes),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class EnterpriseWebAppCredential(OAuthServerToServerCredential):
    """Client credentials plus ``org_id``: one client for many consenting orgs."""

    kind: ClassVar[CredentialKind] = CredentialKind.ENTERPRISE_WEB_APP
    hints: ClassVar[RefusalHints] = RefusalHints(
        not_allowed="The org has not consented to this app, or has withdrawn its consent: ask the org's administrator."
    )

    @override
    def form(self, scopes: tuple[Scope, ...], client_secret: str, assertion: str | None) -> dict[str, str]:
        """``org_id`` is the stored credential's own, never what the caller sent."""
        form = OAuthServerToServerCredential.form(self, scopes, client_secret, assertion)
        return {**form, "org_id": self.ref.org}


KINDS: Mapping[CredentialKind, type[Credential]] = {
    credential.kind: credential
    for credential in (JwtCredential, OAuthServerToServerCredential, EnterpriseWebAppCredential)
}
