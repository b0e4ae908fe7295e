"""``POST /oauth2/token``: the same decision in the format of RFC 6749 section 4.4, for any OAuth 2.0 client library."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.api.answers import OAUTH2_ANSWER
from app.api.facts import RequestFacts
from app.api.frame import RequestFrame, request_id_of
from app.api.oauth2_client import Form, authenticate, read_form
from app.api.oauth2_openapi import OAUTH2_TOKEN
from app.api.parameters import parse_ref, parse_urlencoded
from app.api.problems import NO_STORE, retry_after_of
from app.api.warm import WarmPath
from app.domain.access_token import AccessToken
from app.domain.authorisation import authorise
from app.domain.errors import (
    BrokerError,
    ForbiddenError,
    InvalidRequestError,
    InvalidScopeError,
    RateLimitedError,
    UnauthenticatedError,
    UnsupportedGrantTypeError,
)
from app.domain.names import CredentialRef, Scope, parse_scopes
from app.domain.policy import Action, Caller

_NOT_DESCRIPTIVE = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")
"""Characters that RFC 6749 section 5.2 does not allow in ``error_description``."""

_AUTHENTICATE = "Authenticate by HTTP Basic, by client_id and client_secret, or by client_assertion."
_STATUS = {
    "invalid_client": 401,
    "invalid_request": 400,
    "invalid_scope": 400,
    "unauthorized_client": 400,
    "unsupported_grant_type": 400,
}
"""The status of each error code of RFC 6749 section 5.2. Every other code is an error of the broker."""

_NAMES = ("org", "credential", "scope")
_CREDENTIAL_FIELDS = frozenset({"client_secret", "client_assertion", "client_assertion_type"})


def oauth2_routes(frame: RequestFrame, warm: WarmPath) -> APIRouter:
    """The route of ``/oauth2/token``. `warm` is its warm path, which recognises callers by their whole form."""
    router = APIRouter()

    async def issue_token(request: Request, facts: RequestFacts) -> Response:
        query = _query_of(request)
        form = await read_form(request)
        digest = form.digest(request.scope["query_string"])
        decided = warm.decide(digest, digest, frame.clock())
        if decided is not None:
            facts.prepared = decided.decision
            return decided.answer_to(request_id_of(request)).response()
        try:
            token = await _vended(frame, facts, form, query)
        except ForbiddenError:
            if facts.denied is not None:
                frame.gate.forms.remember(digest, facts.admitted)
                warm.learn_denied(facts, digest)
            raise
        frame.gate.forms.remember(digest, facts.admitted)
        warm.learn(facts.admitted, digest, token)
        return OAUTH2_ANSWER.answer(token, frame.vendor.seconds_left(token)).response()

    answer = frame.around("/oauth2/token", Action.VEND, issue_token, oauth2_error)
    router.add_api_route("/oauth2/token", answer, methods=["POST"], **OAUTH2_TOKEN)
    return router


async def _vended(frame: RequestFrame, facts: RequestFacts, sent: Form, query: Mapping[str, str]) -> AccessToken:
    """The long path: authenticate the client, authorise, obtain a token.

    Raises:
        BrokerError: The client may not have it, or it is unavailable.

    """
    form = sent.fields()
    await authenticate(frame, sent, form, facts)
    if form.get("grant_type") != "client_credentials":
        raise _grant_type_error(form)
    asked = _joined(form, query)
    facts.ref = parse_ref(asked)
    scopes = _scopes_of(asked)
    _refuse_scopes(facts.caller, facts.ref, scopes)
    return await frame.obtain(facts, Action.VEND, scopes, frame.vendor.vend)


def _query_of(request: Request) -> dict[str, str]:
    """The query of the token URL. Unknown names are refused here; RFC 6749 section 3.2 ignores them only in the form.

    Raises:
        InvalidRequestError: It has a client credential, which must not be in a URL, or a name that is not the tenant's.

    """
    raw = request.scope["query_string"]
    if not raw:
        return {}
    if _CREDENTIAL_FIELDS & parse_urlencoded(raw).keys():
        raise InvalidRequestError("A client credential must not be sent in the URL.")
    return parse_urlencoded(raw, _NAMES)


def _grant_type_error(form: Mapping[str, str]) -> InvalidRequestError:
    if "grant_type" not in form:
        return InvalidRequestError("grant_type is missing.")
    return UnsupportedGrantTypeError("The only supported grant_type is client_credentials.")


def _joined(form: Mapping[str, str], query: Mapping[str, str]) -> dict[str, str]:
    """The parameters of form and query, which must not contradict each other (docs/contract.md section 9)."""
    for name in _NAMES:
        if name in form and name in query and form[name] != query[name]:
            raise InvalidRequestError(f"{name} differs between the form and the URL's query.")
    return {**query, **form}


def _scopes_of(asked: Mapping[str, str]) -> tuple[Scope, ...] | None:
    """The scopes asked for; a malformed one has its own error code (RFC 6749 section 5.2)."""
    try:
        return parse_scopes(asked["scope"]) if "scope" in asked else None
    except InvalidRequestError as error:
        raise InvalidScopeError(error.detail) from None


def _refuse_scopes(caller: Caller, ref: CredentialRef, scopes: tuple[Scope, ...] | None) -> None:
    """Raise the error about scopes for a caller that may have tokens of `ref`, but not with these scopes."""
    if scopes is None:
        return
    try:
        authorise(caller, Action.VEND, ref, scopes)
    except ForbiddenError as forbidden:
        authorise(caller, Action.VEND, ref)
        refused = InvalidScopeError("This client may not have one of these scopes.")
        refused.audit_rule = forbidden.audit_rule
        raise refused from None


def oauth2_error(error: BrokerError, request_id: str) -> Response:
    """`error` in the format of RFC 6749 section 5.2."""
    status = _STATUS.get(error.oauth_error) or (429 if isinstance(error, RateLimitedError) else 503)
    headers = {**NO_STORE, "pragma": "no-cache"}
    if status == 401:
        headers["www-authenticate"] = 'Basic realm="ims-token-broker"'
    retry_after = retry_after_of(error)
    if status in {429, 503}:
        headers["retry-after"] = str(retry_after or 60)
    detail = _AUTHENTICATE if isinstance(error, UnauthenticatedError) else error.detail
    description = _NOT_DESCRIPTIVE.sub("'", detail)
    body = {"error": error.oauth_error, "error_description": description, "code": error.code, "request_id": request_id}
    return JSONResponse(body, status, headers=headers)
