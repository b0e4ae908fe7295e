"""The ``issuers`` part of a policy: the issuers whose JWTs are accepted, and the sources of their keys."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from app.domain.identity import Issuer
from app.domain.plain_document import Fields, PolicyError, fields_of, items_of, text_of
from app.hosts import is_loopback

MAX_ISSUERS = 100
"""A limit, because each issuer needs a background task and a connection."""

MAX_AUDIENCES = 20
MAX_ISSUER_LENGTH = 256
MAX_PATH = 4096
_REVIEW_FILES = ("token_review_ca_file", "token_review_token_file")
_FIELDS = frozenset(
    {
        "issuer",
        "audience",
        "jwks_url",
        "jwks_file",
        "jwks_ca_file",
        "jwks_token_file",
        "token_review_url",
        *_REVIEW_FILES,
    }
)
# A backslash is refused, because some URL parsers read it as a slash.
_URL_CHARACTERS = re.compile(r"[\x21-\x5b\x5d-\x7e]{1,2048}")
_HOST = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*|[0-9A-Fa-f:.]+")


def parse_issuers(value: object) -> tuple[Issuer, ...]:
    """Parse the list of issuers. It may be empty, if all callers use API keys.

    Raises:
        PolicyError: As `parse_policy`.

    """
    issuers: dict[str, Issuer] = {}
    for place, item in items_of(value, "issuers"):
        issuer = _issuer(item, place)
        if issuer.issuer in issuers:
            raise PolicyError(f"{place}.issuer", "must not repeat an earlier issuer")
        issuers[issuer.issuer] = issuer
    if len(issuers) > MAX_ISSUERS:
        raise PolicyError("issuers", f"must be at most {MAX_ISSUERS}")
    return tuple(issuers.values())


def _issuer(value: object, place: str) -> Issuer:
    fields = fields_of(value, place, _FIELDS, required=("issuer", "audience"))
    if ("jwks_url" in fields) == ("jwks_file" in fields):
        raise PolicyError(place, "must have either jwks_url or jwks_file")
    if "jwks_url" not in fields and ("jwks_ca_file" in fields or "jwks_token_file" in fields):
        raise PolicyError(place, "must have jwks_ca_file and jwks_token_file only with jwks_url")
    if "token_review_url" not in fields and any(name in fields for name in _REVIEW_FILES):
        raise PolicyError(place, f"must have {' and '.join(_REVIEW_FILES)} only with token_review_url")
    return Issuer(
        issuer=text_of(fields["issuer"], f"{place}.issuer", MAX_ISSUER_LENGTH),
        audiences=_audiences(fields["audience"], f"{place}.audience"),
        jwks_url=_url(fields, "jwks_url", place),
        jwks_file=_path(fields, "jwks_file", place),
        jwks_ca_file=_path(fields, "jwks_ca_file", place),
        jwks_token_file=_path(fields, "jwks_token_file", place),
        token_review_url=_url(fields, "token_review_url", place),
        token_review_ca_file=_path(fields, "token_review_ca_file", place),
        token_review_token_file=_path(fields, "token_review_token_file", place),
    )


def _audiences(value: object, place: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        return (text_of(value, place, MAX_ISSUER_LENGTH),)
    audiences = tuple(text_of(item, at, MAX_ISSUER_LENGTH) for at, item in items_of(value, place))
    if not audiences or len(audiences) > MAX_AUDIENCES or len(set(audiences)) < len(audiences):
        raise PolicyError(place, f"must be one audience, or a list of 1 to {MAX_AUDIENCES} different ones")
    return audiences


def _path(fields: Fields, name: str, place: str) -> str | None:
    return text_of(fields[name], f"{place}.{name}", MAX_PATH) if name in fields else None


def _url(fields: Fields, name: str, place: str) -> str | None:
    if name not in fields:
        return None
    value = fields[name]
    if not isinstance(value, str) or not _is_trustworthy_url(value):
        raise PolicyError(
            f"{place}.{name}",
            "must be an https URL without user or fragment; plain http only for localhost or a loopback address",
        )
    return value


def _is_trustworthy_url(url: str) -> bool:
    if _URL_CHARACTERS.fullmatch(url) is None:
        return False
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        return False
    if "@" in parts.netloc or "#" in url or port == 0 or _HOST.fullmatch(host) is None:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
