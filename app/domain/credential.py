"""A tenant's credential, and the kinds of credentials: each one answers for its own flow.

A new kind is a member of `CredentialKind` and a class in this module, which is listed in `KINDS`. No other module
branches on a credential's kind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import ClassVar

from typing_extensions import override

from app.domain.names import CredentialRef, Scope
from app.domain.signing import SigningKey


class CredentialKind(StrEnum):
    """The flow that a credential uses."""

    JWT = "jwt"
    OAUTH_SERVER_TO_SERVER = "oauth_server_to_server"
    ENTERPRISE_WEB_APP = "enterprise_web_app"


class ExpiresInUnit(Enum):
    """The unit of ``expires_in`` in an endpoint's answer. The value is the number of units in a second."""

    MILLISECONDS = 1000
    SECONDS = 1


@dataclass(frozen=True, slots=True)
class RefusalHints:
    """The usual causes of refusals by IMS, if they depend on the kind. Each is a sentence with the remedy.

    Args:
        bad_request: For ``bad_request`` and ``invalid_request``.
        scope: For ``invalid_scope`` and ``invalid_target_scope``.
        not_allowed: For ``unauthorized_client`` and ``access_denied``.
        unknown_client: For ``invalid_client`` if it means that the client does not exist.
        unknown_client_is_400: Whether ``invalid_client`` with status 400 means that the client does not exist.
        internal_error: For 500 ``internal_error``; empty if the error has no special meaning.

    """

    bad_request: str = "Compare the stored credential with the Adobe Developer Console."
    scope: str = (
        "A scope is unknown or not one that the client has: copy scopes from the Adobe Developer Console again."
    )
    not_allowed: str = "The client may not use this flow: check kind, which must be that of the credential at Adobe."
    unknown_client: str = "IMS does not know this client: check client_id and ims_base_url."
    unknown_client_is_400: bool = False
    internal_error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential(ABC):
    """A tenant's credential, as its document says (docs/contract.md section 2).

    Args:
        ref: Its org and name.
        generation: The version of its document; with an app, ``<app's>.<org's>``.
        client_id: As issued by Adobe.
        client_secrets: One or two, tried in order.
        scopes: All its scopes; for kind ``jwt``, its metascopes.
        technical_account_id: As issued by Adobe; None if the document has none.
        ims_base_url: The IMS host, without a trailing slash.
        certificate: PEM, or None.
        sandbox: The default for ``x-sandbox-name``, or None.
        signing: The key that signs its assertions; None for the kinds that have no assertion.
        app: The app whose document has its client, and the version of that document; None without one.
        not_before: Unix time in seconds; a token that was minted earlier is not served. None if there is no such time.

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
    app: tuple[str, str] | None = None
    not_before: float | None = None

    kind: ClassVar[CredentialKind]
    path: ClassVar[str]
    """The path at IMS that takes its grant."""
    expires_in_unit: ClassVar[ExpiresInUnit]
    """The unit of ``expires_in`` at that path; never guessed."""
    scopes_field: ClassVar[str] = "scopes"
    """The field of the document that lists its scopes."""
    signs: ClassVar[bool] = False
    """Whether its grant is a signed assertion."""
    secret_fields: ClassVar[tuple[str, ...]] = ("client_secret",)
    """The fields of its form that must never be repeated in a log or an error."""
    token_claims_scopes: ClassVar[bool] = True
    """Whether the ``scope`` claim of its tokens lists the scopes that were asked for."""
    hints: ClassVar[RefusalHints] = RefusalHints()

    @property
    def secrets_version(self) -> Hashable:
        """Identifies the document that has its client secrets, in its version: many orgs may share an app's."""
        return self.app or (self.ref, self.generation)

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
    secret_fields: ClassVar[tuple[str, ...]] = ("client_secret", "jwt_token")
    token_claims_scopes: ClassVar[bool] = False
    hints: ClassVar[RefusalHints] = RefusalHints(
        bad_request="IMS cannot accept the assertion: check org_id, technical_account_id and ims_base_url.",
        scope="A metascope is missing, unknown, or not one that the certificate is bound to: check metascopes.",
        unknown_client=(
            "The client does not exist at this IMS, or is not the one the assertion names: "
            "check client_id and ims_base_url."
        ),
        unknown_client_is_400=True,
        internal_error=(
            "A service account (JWT) that Adobe has already converted to OAuth Server-to-Server always answers like "
            "this: if it continues, change the credential's kind to oauth_server_to_server."
        ),
    )

    @override
    def form(self, scopes: tuple[Scope, ...], client_secret: str, assertion: str | None) -> dict[str, str]:
        """The exchange of a signed assertion."""
        assert assertion is not None  # noqa: S101  # this kind signs
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
