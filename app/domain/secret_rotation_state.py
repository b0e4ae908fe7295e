"""A client's secrets as Adobe's secrets API shows them, and what a rotation keeps between its steps.

The API: docs/ims.md section 3.3. A client has at most two secrets, they never expire, and values are shown once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self

from app.domain.dependency_errors import DependencyError
from app.domain.errors import BrokerError
from app.domain.tenant_errors import CredentialMisconfiguredError

DEFAULT_CONSOLE_URL = "https://api.adobe.io"
MOST_SECRETS = 2
MANAGE_SCOPE = "manage_client_secrets"
"""The scope that a token for the secrets API needs, among others."""

CONSOLE_ORG_FIELD, CONSOLE_CREDENTIAL_FIELD = "console_org_id", "console_credential_id"
CONSOLE_FIELDS = (CONSOLE_ORG_FIELD, CONSOLE_CREDENTIAL_FIELD)
"""Optional fields of a credential's document. The broker does not need them; a rotation does."""

_CONSOLE_ID = re.compile(r"[0-9]{1,20}")
_UUID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class ConsoleIds:
    """The numbers by which the Adobe Developer Console knows a credential; not those of IMS.

    Args:
        org: ``project.org.id`` of a downloaded project.
        credential: ``id`` of the credential in it.

    """

    org: str
    credential: str

    def __post_init__(self) -> None:
        if not (_CONSOLE_ID.fullmatch(self.org) and _CONSOLE_ID.fullmatch(self.credential)):
            raise ValueError("must be decimal numbers")

    @classmethod
    def of(cls, document: Mapping[str, object]) -> Self | None:
        """Those in a credential's document; None if it has none.

        Raises:
            CredentialMisconfiguredError: They are not decimal numbers, or one is missing.

        """
        org, credential = document.get(CONSOLE_ORG_FIELD), document.get(CONSOLE_CREDENTIAL_FIELD)
        if org is None and credential is None:
            return None
        try:
            return cls(str(org), str(credential))
        except ValueError:
            expected = f"must be a decimal number, as must {CONSOLE_CREDENTIAL_FIELD}"
            raise CredentialMisconfiguredError(CONSOLE_ORG_FIELD, expected) from None


@dataclass(frozen=True, slots=True)
class ConsoleAccess:
    """What a call to the secrets API needs.

    Args:
        ids: The credential whose secrets they are.
        client_id: The client that `token` was issued to.
        token: An access token with `MANAGE_SCOPE`.

    """

    ids: ConsoleIds
    client_id: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ListedSecret:
    """A secret without its value.

    Args:
        uuid: Its name at Adobe.
        created_at: Unix time in seconds.
        last_used_at: Unix time in seconds; None if it has never been used. Adobe updates it with a delay.

    """

    uuid: str
    created_at: float
    last_used_at: float | None


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A secret that was added just now: the only time that Adobe shows its value."""

    uuid: str
    value: str = field(repr=False)


def is_uuid(text: str) -> bool:
    """Whether `text` may be the name of a secret, so that it may become a part of a URL."""
    return _UUID.fullmatch(text) is not None


class RotationStep(StrEnum):
    """How far a rotation is. Each step is written down before the next one begins."""

    ADDING = "adding"
    """A second secret is asked for; its value is not known yet."""
    ADDED = "added"
    """Adobe has two secrets; the document still has the old one."""
    WRITTEN = "written"
    """The document has both, the new one first."""
    RETIRING = "retiring"
    """The document has the new one alone; the old one is to be deleted at Adobe."""


@dataclass(frozen=True, slots=True)
class RotationState:
    """What a rotation needs to go on after a crash.

    Args:
        step: The last step that was recorded.
        old: The uuid of the secret to replace.
        since: Unix time in seconds when this step was reached.
        run: Who works on it: a run that finds another one here must not go on.
        new: The uuid of the new secret; None while it is not known.
        value: The new secret, until it is in the document.
        digest: The SHA-256 of the new secret in hex, once it is known.

    """

    step: RotationStep
    old: str
    since: float
    run: str
    new: str | None = None
    value: str | None = field(default=None, repr=False)
    digest: str | None = None

    def at(self, step: RotationStep, now: float, **changes: str | None) -> Self:
        """The state after the next step was reached."""
        return replace(self, step=step, since=now, **changes)  # type: ignore[arg-type]  # only text fields change

    def owned_by(self, run: str) -> Self:
        """The same state, in the hands of another run."""
        return replace(self, run=run)

    def document(self) -> dict[str, object]:
        """As it is stored."""
        known = {"new": self.new, "value": self.value, "digest": self.digest}
        fixed = {"rotation": "client_secret", "step": str(self.step), "old": self.old, "since": self.since}
        return {**fixed, "run": self.run, **{name: value for name, value in known.items() if value is not None}}

    @classmethod
    def parsed(cls, document: Mapping[str, object]) -> Self:
        """The state of a stored document.

        Raises:
            RotationError: It is not one of these.

        """
        try:
            new, value, digest = (document.get(name) for name in ("new", "value", "digest"))
            since = float(str(document["since"]))
            if not math.isfinite(since):
                raise ValueError
            return cls(
                RotationStep(str(document["step"])),
                str(document["old"]),
                since,
                str(document["run"]),
                None if new is None else str(new),
                None if value is None else str(value),
                None if digest is None else str(digest),
            )
        except (KeyError, ValueError):
            raise RotationError(
                "The state of this rotation, below _rotations in the credential store, cannot be read. Compare"
                " the secrets in the Adobe Developer Console with the document, then discard the rotation with"
                " --discard."
            ) from None


class RotationError(BrokerError):
    """A rotation cannot begin or go on; the detail says why and what to do. Nothing was deleted."""

    code = "rotation_refused"


class SecretsApiDeniedError(RotationError):
    """Adobe's secrets API does not accept this credential."""


class SecretsApiUnavailableError(DependencyError):
    """Adobe's secrets API does not answer, throttles or fails."""

    code = "console_unavailable"
