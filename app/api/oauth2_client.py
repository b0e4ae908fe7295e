"""The client of ``/oauth2/token``: the form it sends, and the one method by which it authenticates."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote_plus

from starlette.requests import Request

from app.api.authorization import MAX_AUTHORIZATION_BYTES, scheme_and_credential
from app.api.caller_gate import Admission
from app.api.facts import RequestFacts
from app.api.frame import RequestFrame, address_of, request_headers
from app.api.parameters import parse_urlencoded
from app.domain.api_key import API_KEY_PREFIX
from app.domain.errors import InvalidRequestError, UnauthenticatedError
from app.domain.identity import JwtIdentity
from app.domain.refusal_reason import RefusalReason, SignedFor

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
"""RFC 7523 section 2.2."""

MAX_FORM_BYTES = 32 * 1024
_FORM = b"application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Form:
    """A form of the right media type, not yet parsed, with the Authorization headers and the address of its request."""

    authorizations: tuple[bytes, ...] = field(repr=False)
    body: bytes = field(repr=False)
    address: str = ""

    def digest(self, query: bytes) -> bytes:
        """SHA-256 of all input of the decision. Each part has its length before it, so that parts cannot be shifted."""
        return form_digest(query, self.body, self.authorizations)

    def fields(self) -> dict[str, str]:
        """The parameters; one without a value counts as omitted (RFC 6749 section 3.2).

        Raises:
            InvalidRequestError: The form is too long or badly encoded, or has a repeated parameter.

        """
        return {name: value for name, value in parse_urlencoded(self.body, limit=MAX_FORM_BYTES).items() if value}


def form_digest(query: bytes, body: bytes, authorizations: tuple[bytes, ...]) -> bytes:
    """See `Form.digest`."""
    parts = b"".join([b"%d:%b" % (len(part), part) for part in (query, body, *authorizations)])
    return hashlib.sha256(parts).digest()


def is_form(content_types: Sequence[bytes]) -> bool:
    """Whether these are the Content-Type headers of a form."""
    return len(content_types) == 1 and content_types[0].partition(b";")[0].strip().lower() == _FORM


async def read_form(request: Request) -> Form:
    """Read the form.

    Raises:
        InvalidRequestError: The media type is another, or the body did not arrive in full.

    """
    if not is_form(request_headers(request, b"content-type")):
        raise InvalidRequestError("Send the parameters as application/x-www-form-urlencoded.")
    return Form(request_headers(request, b"authorization"), await request.body(), address_of(request))


async def authenticate(frame: RequestFrame, sent: Form, form: Mapping[str, str], facts: RequestFacts) -> None:
    """Authenticate the client by exactly one method (RFC 6749 section 2.3, RFC 7523 section 2.2).

    Raises:
        InvalidRequestError: The client uses more than one method.
        UnauthenticatedError: It uses none, or its credential proves nothing.

    """
    basic = sent.authorizations
    if len(basic) + ("client_secret" in form) + ("client_assertion" in form) > 1:
        raise InvalidRequestError("Authenticate the client by only one method.")
    client_id = form.get("client_id")
    if basic:
        name, credential = _basic(basic[0])
        if client_id not in {None, name}:
            raise UnauthenticatedError(RefusalReason.CLIENT_ID)
        client_id = name
    elif "client_secret" in form:
        credential = form["client_secret"]
        if client_id is None:
            raise UnauthenticatedError(RefusalReason.CLIENT_ID)
    elif form.get("client_assertion_type") == JWT_BEARER and "client_assertion" in form:
        credential = form["client_assertion"]
    else:
        raise UnauthenticatedError(RefusalReason.MISSING)
    # An API key is not an assertion, and a JWT is not a secret, even if either would prove the caller.
    if credential.encode().startswith(API_KEY_PREFIX) == ("client_assertion" in form):
        raise UnauthenticatedError(RefusalReason.SCHEME)
    admission = await frame.gate.admit_credential(credential.encode(), sent.address)
    _check_client_id(admission, client_id)
    frame.enter(admission, facts)


def _check_client_id(admission: Admission, client_id: str | None) -> None:
    """The client id, if one is given, must name the caller that the credential proves."""
    if client_id is None:
        return
    names, signed_for = {admission.caller.name}, None
    if isinstance(admission.identity, JwtIdentity):
        names.add(admission.identity.subject)
        signed_for = SignedFor(admission.identity.issuer, admission.identity.subject)
    if not any(hmac.compare_digest(client_id.encode(), name.encode()) for name in names):
        raise UnauthenticatedError(RefusalReason.CLIENT_ID, signed_for)


def _basic(header: bytes) -> tuple[str, str]:
    """Name and key from HTTP Basic; both are urlencoded first (RFC 6749 section 2.3.1)."""
    scheme, encoded = scheme_and_credential(header)
    if len(header) > MAX_AUTHORIZATION_BYTES:
        raise UnauthenticatedError(RefusalReason.MALFORMED)
    if scheme != b"basic":
        raise UnauthenticatedError(RefusalReason.SCHEME)
    try:
        name, colon, key = base64.b64decode(encoded, validate=True).decode("ascii").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise UnauthenticatedError(RefusalReason.MALFORMED) from None
    if not colon:
        raise UnauthenticatedError(RefusalReason.MALFORMED)
    return unquote_plus(name), unquote_plus(key)
