"""From a credential to the form to POST at IMS (RFC 6749 section 4.4; docs/ims.md sections 1.2, 3.1 and 3.6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from app.domain.credential import Credential, EnterpriseWebAppCredential, JwtCredential
from app.domain.names import Scope

_SECRET_FIELDS = ("client_secret", "jwt_token")


class ExpiresInUnit(Enum):
    """The unit of ``expires_in`` in an endpoint's answer; the value is how many of it make a second."""

    MILLISECONDS = 1000
    SECONDS = 1


@dataclass(frozen=True, slots=True)
class Grant:
    """One exchange, ready to be sent, and what its answer must agree with.

    Args:
        credential: The credential presented.
        scopes: The scopes asked for.
        url: Where to POST.
        form: The fields to send urlencoded; holds secrets, so it is never in a repr.
        expires_in_unit: What the endpoint means by ``expires_in``. It belongs to the endpoint and is never guessed.

    """

    credential: Credential
    scopes: tuple[Scope, ...]
    url: str
    form: Mapping[str, str] = field(repr=False)
    expires_in_unit: ExpiresInUnit

    @property
    def secrets(self) -> tuple[str, ...]:
        """What of the form must never be repeated."""
        return tuple(self.form[name] for name in _SECRET_FIELDS if name in self.form)


def jwt_grant(credential: JwtCredential, scopes: tuple[Scope, ...], client_secret: str, assertion: str) -> Grant:
    """The exchange of a signed assertion. Its answers count in milliseconds."""
    form = {"client_id": credential.client_id, "client_secret": client_secret, "jwt_token": assertion}
    url = f"{credential.ims_base_url}/ims/exchange/jwt"
    return Grant(credential, scopes, url, form, ExpiresInUnit.MILLISECONDS)


def client_credentials_grant(credential: Credential, scopes: tuple[Scope, ...], client_secret: str) -> Grant:
    """The client credentials grant. Its answers count in seconds; scopes are joined by commas, as Adobe's clients do.

    ``org_id`` is sent for enterprise web apps alone, and is the stored credential's own, never the caller's word.
    """
    form = {
        "grant_type": "client_credentials",
        "client_id": credential.client_id,
        "client_secret": client_secret,
        "scope": ",".join(scopes),
    }
    if isinstance(credential, EnterpriseWebAppCredential):
        form["org_id"] = credential.ref.org
    url = f"{credential.ims_base_url}/ims/token/v3"
    return Grant(credential, scopes, url, form, ExpiresInUnit.SECONDS)


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token as IMS issued it, checked against the grant.

    Args:
        value: The token; never in a repr.
        scopes: What it carries, as far as it can be read; else what was asked for.
        issued_at: Unix time in seconds.
        expires_at: Unix time in seconds.

    """

    value: str = field(repr=False)
    scopes: tuple[Scope, ...]
    issued_at: float
    expires_at: float
