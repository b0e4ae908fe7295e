"""What ``status`` shows of each credential, read from the answers of ``GET /orgs``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from app.cli.printable import printable
from app.domain.rfc3339 import parse_rfc3339

_DAY = 86400.0
_SOON_DAYS = 30
"""Adobe mails about a certificate from this time before its end (docs/ims.md section 5)."""

_REFRESH_SHARE = 0.5
"""A token is refreshed at about half of its life, so that its whole life follows from the two times in the answer."""


@dataclass(frozen=True, slots=True)
class StatusRow:
    """One credential.

    Args:
        org: Its org.
        credential: Its name.
        kind: Its kind; empty if its document cannot be read.
        generation: The version of its document; empty if unknown.
        token_state: ``fresh``, ``aging``, ``critical``, ``expired`` or ``absent``.
        remaining: Seconds that the token has left; None without one.
        share: How much of its life the token has left, from 0 to 1; None without one.
        certificate_days: Days until the certificate ends, negative afterwards; None without one.
        last_error: The code of the last error; empty if there is none.

    """

    org: str
    credential: str
    kind: str
    generation: str
    token_state: str
    remaining: float | None
    share: float | None
    certificate_days: float | None
    last_error: str

    @property
    def needs_attention(self) -> bool:
        """Whether an operator should look at it."""
        ending = self.certificate_days is not None and self.certificate_days < _SOON_DAYS
        return bool(self.last_error) or self.token_state == "expired" or ending

    @property
    def remaining_text(self) -> str:
        """The remaining life for a person."""
        if self.remaining is None:
            return ""
        hours, seconds = divmod(int(self.remaining), 3600)
        return f"{hours} h {seconds // 60:02} min"

    @property
    def certificate_text(self) -> str:
        """The end of the certificate for a person."""
        if self.certificate_days is None:
            return ""
        return f"{self.certificate_days:.0f} days" if self.certificate_days >= 0 else "expired"


def rows_of(orgs: Iterable[Mapping[str, object]], now: float) -> Iterator[StatusRow]:
    """The rows for the members of ``orgs``; a member that is missing or of a wrong type is empty.

    Args:
        orgs: As the broker answers.
        now: Unix time in seconds.

    """
    for org in orgs:
        token = org.get("token")
        times = token if isinstance(token, Mapping) else {}
        expires, refresh = _time(times.get("expires_at")), _time(times.get("refresh_at"))
        remaining = None if expires is None else max(0.0, expires - now)
        ends = _time(org.get("certificate_expires_at"))
        yield StatusRow(
            printable(org.get("org_id")),
            printable(org.get("credential")),
            printable(org.get("kind")),
            printable(org.get("generation")),
            printable(times.get("state")),
            remaining,
            _share(remaining, expires, refresh),
            None if ends is None else (ends - now) / _DAY,
            printable(org.get("last_error")),
        )


def _share(remaining: float | None, expires: float | None, refresh: float | None) -> float | None:
    if remaining is None or expires is None:
        return None
    life = 0.0 if refresh is None else (expires - refresh) / _REFRESH_SHARE
    return min(1.0, remaining / life) if life > 0 else 0.0


def _time(value: object) -> float | None:
    try:
        return parse_rfc3339(value) if isinstance(value, str) else None
    except ValueError:
        return None
