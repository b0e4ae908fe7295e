"""The form to POST at IMS for a credential, and the token that IMS issued (docs/ims.md sections 1.2, 3.1 and 3.6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.domain.credential import Credential
from app.domain.names import Scope


@dataclass(frozen=True, slots=True)
class Grant:
    """One exchange that is ready to send. The answer must agree with it.

    Args:
        credential: The credential, which names the path at IMS and the unit of ``expires_in``.
        scopes: The scopes asked for.
        form: The fields to send urlencoded; never in a repr, because it holds secrets.

    """

    credential: Credential
    scopes: tuple[Scope, ...]
    form: Mapping[str, str] = field(repr=False)

    @property
    def url(self) -> str:
        """The URL to POST to."""
        return f"{self.credential.ims_base_url}{self.credential.path}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values in the form that must never be logged or answered."""
        return tuple(self.form[name] for name in self.credential.secret_fields)


def grant_of(
    credential: Credential, scopes: tuple[Scope, ...], client_secret: str, assertion: str | None = None
) -> Grant:
    """The grant that presents `credential`.

    Args:
        credential: The credential to present.
        scopes: The scopes to ask for.
        client_secret: The one of its secrets to send.
        assertion: The signed assertion, for a kind that signs.

    """
    return Grant(credential, scopes, credential.form(scopes, client_secret, assertion))


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token as IMS issued it, checked against the grant.

    Args:
        value: The token; never in a repr.
        scopes: Its scopes, if they can be read; otherwise those that were asked for.
        issued_at: Unix time in seconds.
        expires_at: Unix time in seconds.

    """

    value: str = field(repr=False)
    scopes: tuple[Scope, ...]
    issued_at: float
    expires_at: float
