"""From a credential to the form to POST at IMS, and the issued token (docs/ims.md sections 1.2, 3.1 and 3.6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.domain.credential import Credential
from app.domain.names import Scope

_SECRET_FIELDS = ("client_secret", "jwt_token")


@dataclass(frozen=True, slots=True)
class Grant:
    """One exchange, ready to be sent, and what its answer must agree with.

    Args:
        credential: The credential presented; it says where, and in which unit the answer counts.
        scopes: The scopes asked for.
        form: The fields to send urlencoded; holds secrets, so it is never in a repr.

    """

    credential: Credential
    scopes: tuple[Scope, ...]
    form: Mapping[str, str] = field(repr=False)

    @property
    def url(self) -> str:
        """Where to POST."""
        return f"{self.credential.ims_base_url}{self.credential.path}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What of the form must never be repeated."""
        return tuple(self.form[name] for name in _SECRET_FIELDS if name in self.form)


def grant_of(
    credential: Credential, scopes: tuple[Scope, ...], client_secret: str, assertion: str | None = None
) -> Grant:
    """The grant that presents `credential`.

    Args:
        credential: The credential to present.
        scopes: The scopes to ask for.
        client_secret: Which of its secrets to send.
        assertion: The signed assertion, for a kind that signs.

    """
    return Grant(credential, scopes, credential.form(scopes, client_secret, assertion))


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
