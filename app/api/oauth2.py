"""``POST /oauth2/token``: the same decision in the shape of RFC 6749 section 4.4, for any OAuth 2.0 client library."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Mapping
from urllib.parse import unquote_plus

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.api import openapi
from app.api.answers import oauth2_response
from app.api.endpoint import Conversation, Endpoint, request_headers
from app.api.gate import MAX_AUTHORIZATION_BYTES
from app.api.parameters import fields_of, parse_ref
from app.api.problems import NO_STORE, retry_after_of
from app.domain.errors import (
    BrokerError,
    CredentialNotFoundError,
    ForbiddenError,
    InvalidRequestError,
    InvalidScopeError,
    RateLimitedError,
    UnauthenticatedError,
)
from app.domain.identity import Identity, JwtIdentity
from app.domain.names import CredentialRef, Scope, parse_scopes
from app.domain.policy import Action, authorise

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
"""RFC 7523 section 2.2."""

MAX_FORM_BYTES = 32 * 1024
_FORM = b"application/x-www-form-urlencoded"
_NOT_DESCRIPTIVE = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")
"""What RFC 6749 section 5.2 does not allow in ``error_description``."""

_AUTHENTICATE = "Authenticate by HTTP Basic, by client_id and client_secret, or by client_assertion."
_NAMES = ("org", "credential", "scope")
_CREDENTIAL_FIELDS = frozenset({"client_secret", "client_assertion", "client_assertion_type"})


class UnsupportedGrantTypeError(InvalidRequestError):
    """Another grant than client credentials (RFC 6749 section 5.2)."""


def oauth2_routes(endpoint: Endpoint) -> APIRouter:
    """The route of ``/oauth2/token``."""
    router = APIRouter()

    async def issue_token(request: Request) -> Response:
        async def work(talk: Conversation) -> Response:
            query = _query_of(request)
            form = await _form_of(request)
            identity = await _authenticate(endpoint, request, form, talk)
            if form.get("grant_type") != "client_credentials":
                raise _grant_type_error(form)
            asked = _joined(form, query)
            talk.ref = parse_ref(asked)
            scopes = _scopes_of(asked)
            _refuse_scopes(endpoint, identity, talk.ref, scopes)
            token = await endpoint.obtain(talk, identity, Action.VEND, scopes, endpoint.vendor.vend)
            return oauth2_response(token, endpoint.clock())

        return await endpoint.run(request, Conversation("/oauth2/token", Action.VEND), work, oauth2_error)

    router.add_api_route("/oauth2/token", issue_token, methods=["POST"], **openapi.OAUTH2_TOKEN)
    return router


def _query_of(request: Request) -> dict[str, str]:
    """The token URL's query. In the form RFC 6749 section 3.2 asks to ignore unknown names; here they are refused.

    Raises:
        InvalidRequestError: A credential, which URLs must not hold, or another name than those of the tenant.

    """
    raw = request.scope["query_string"]
    if _CREDENTIAL_FIELDS & fields_of(raw).keys():
        raise InvalidRequestError("A client credential must not be sent in the URL.")
    return fields_of(raw, _NAMES)


async def _form_of(request: Request) -> dict[str, str]:
    """The form; a parameter without a value counts as left out (RFC 6749 section 3.2).

    Raises:
        InvalidRequestError: Another media type, too long, badly encoded, or a repeated parameter.

    """
    content_types = request_headers(request, b"content-type")
    if len(content_types) != 1 or content_types[0].partition(b";")[0].strip().lower() != _FORM:
        raise InvalidRequestError("Send the parameters as application/x-www-form-urlencoded.")
    fields = fields_of(await request.body(), limit=MAX_FORM_BYTES)
    return {name: value for name, value in fields.items() if value}


async def _authenticate(endpoint: Endpoint, request: Request, form: Mapping[str, str], talk: Conversation) -> Identity:
    """Authenticate the client by exactly one method (RFC 6749 section 2.3, RFC 7523 section 2.2).

    Raises:
        InvalidRequestError: More than one method.
        UnauthenticatedError: None, or it proves nothing.

    """
    basic = request_headers(request, b"authorization")
    if len(basic) + ("client_secret" in form) + ("client_assertion" in form) > 1:
        raise InvalidRequestError("Authenticate the client by one method only.")
    client_id = form.get("client_id")
    if basic:
        name, credential = _basic(basic[0])
        if client_id not in {None, name}:
            raise UnauthenticatedError
        client_id = name
    elif "client_secret" in form:
        credential = form["client_secret"]
        if client_id is None:
            raise UnauthenticatedError
    elif form.get("client_assertion_type") == JWT_BEARER and "client_assertion" in form:
        credential = form["client_assertion"]
    else:
        raise UnauthenticatedError
    identity = await endpoint.gate.identify(credential.encode())
    if isinstance(identity, JwtIdentity) != ("client_assertion" in form):
        raise UnauthenticatedError
    _check_client_id(endpoint, identity, client_id)
    endpoint.enter(identity, talk)
    return identity


def _check_client_id(endpoint: Endpoint, identity: Identity, client_id: str | None) -> None:
    """The client id, where one is given, must name the caller that the credential proves."""
    if client_id is None:
        return
    names = {endpoint.gate.resolve(identity).name}
    if isinstance(identity, JwtIdentity):
        names.add(identity.subject)
    if not any(hmac.compare_digest(client_id.encode(), name.encode()) for name in names):
        raise UnauthenticatedError


def _basic(header: bytes) -> tuple[str, str]:
    """Name and key out of HTTP Basic; both are urlencoded first (RFC 6749 section 2.3.1)."""
    scheme, _, encoded = header.partition(b" ")
    try:
        if scheme.lower() != b"basic" or len(header) > MAX_AUTHORIZATION_BYTES:
            raise UnauthenticatedError
        name, colon, key = base64.b64decode(encoded.strip(), validate=True).decode("ascii").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise UnauthenticatedError from None
    if not colon:
        raise UnauthenticatedError
    return unquote_plus(name), unquote_plus(key)


def _grant_type_error(form: Mapping[str, str]) -> InvalidRequestError:
    if "grant_type" not in form:
        return InvalidRequestError("grant_type is missing.")
    return UnsupportedGrantTypeError("The only grant_type here is client_credentials.")


def _joined(form: Mapping[str, str], query: Mapping[str, str]) -> dict[str, str]:
    """What is asked for, by the form or the token URL's query; they must not contradict each other (product 9)."""
    for name in _NAMES:
        if name in form and name in query and form[name] != query[name]:
            raise InvalidRequestError(f"{name} differs between the form and the URL's query.")
    return {**query, **form}


def _scopes_of(asked: Mapping[str, str]) -> tuple[Scope, ...] | None:
    """The scopes asked for; a malformed one has an error of its own here (RFC 6749 section 5.2)."""
    try:
        return parse_scopes(asked["scope"]) if "scope" in asked else None
    except InvalidRequestError as error:
        raise InvalidScopeError(error.detail) from None


def _refuse_scopes(
    endpoint: Endpoint, identity: Identity, ref: CredentialRef, scopes: tuple[Scope, ...] | None
) -> None:
    """Tell a caller that may have tokens of `ref`, but not these scopes, that it is the scopes (RFC 6749 5.2)."""
    caller = endpoint.gate.resolve(identity)
    authorise(caller, Action.VEND, ref)
    try:
        authorise(caller, Action.VEND, ref, scopes)
    except ForbiddenError:
        raise InvalidScopeError("A scope is more than this client may have.") from None


def oauth2_error(error: BrokerError, request_id: str) -> Response:
    """`error` in the shape of RFC 6749 section 5.2."""
    status, code = _oauth2_code(error)
    headers = {**NO_STORE, "pragma": "no-cache"}
    if status == 401:
        headers["www-authenticate"] = 'Basic realm="ims-token-broker"'
    retry_after = retry_after_of(error)
    if status in {429, 503}:
        headers["retry-after"] = str(retry_after or 60)
    detail = _AUTHENTICATE if isinstance(error, UnauthenticatedError) else error.detail
    description = _NOT_DESCRIPTIVE.sub("'", detail)
    body = {"error": code, "error_description": description, "code": error.code, "request_id": request_id}
    return JSONResponse(body, status, headers=headers)


def _oauth2_code(error: BrokerError) -> tuple[int, str]:
    match error:
        case UnauthenticatedError():
            return 401, "invalid_client"
        case UnsupportedGrantTypeError():
            return 400, "unsupported_grant_type"
        case InvalidScopeError():
            return 400, "invalid_scope"
        case InvalidRequestError() | CredentialNotFoundError():
            return 400, "invalid_request"
        case ForbiddenError():
            return 400, "unauthorized_client"
        case RateLimitedError():
            return 429, "temporarily_unavailable"
        case _:
            return 503, "temporarily_unavailable"
