"""`/openapi.json` declares what the contract names and what the broker does."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
import schemathesis
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.api.limits import Limits
from app.domain.dependency_errors import IdentityUnavailableError
from app.domain.errors import SourceLimitedError, UnknownCallerError
from app.domain.names import Scope
from app.domain.rate_limit import RateLimit
from app.domain.refusal_reason import SignedFor
from app.domain.tenant_errors import CredentialRejectedError
from tests.factories import (
    ALL_ACTIONS,
    ORG,
    OTHER_ORG,
    UNKNOWN_ORG,
    make_api_key,
    make_caller,
    make_credential,
    make_rule,
)
from tests.support.api_in_memory import ApiInMemory
from tests.support.asgi_client import AsgiResponse, Header
from tests.support.backends import sandbox_backend
from tests.support.fleet import CALLER, PolicyDocument
from tests.support.processes import environment
from tests.support.replica import BrokerProcess
from tests.support.tenants import SCOPES, Tenant

VENDING = {200, 400, 401, 403, 404, 429, 500, 502, 503}
CONTRACT: dict[str, dict[str, set[int]]] = {
    "/token": {"get": VENDING, "head": VENDING, "delete": {204, 400, 401, 403, 429, 500, 503}},
    "/token/report": {"post": VENDING},
    # What concerns one item is in the answer of that item.
    "/tokens": {"post": {200, 400, 401, 403, 429, 500, 503}},
    "/headers": dict.fromkeys(("get", "head", "post", "put", "patch", "delete", "options"), VENDING),
    # RFC 6749 section 5.2: a refusal by the policy or the store is a 400, a refusal by IMS a 503.
    "/oauth2/token": {"post": {200, 400, 401, 429, 500, 503}},
    "/orgs": {"get": {200, 400, 401, 403, 429, 500, 503}, "head": {200, 400, 401, 403, 429, 500, 503}},
    "/livez": {"get": {200}, "head": {200}},
    "/readyz": {"get": {200, 503}, "head": {200, 503}},
    "/metrics": {"get": {200}, "head": {200}},
    "/.well-known/oauth-authorization-server": {"get": {200, 400, 503}, "head": {200, 400, 503}},
}
"""The statuses of each method of each path: those that the contract names, and 500."""

OPERATIONS = [(method.upper(), path) for path, methods in CONTRACT.items() for method in methods]
OPEN = frozenset({"/livez", "/readyz", "/metrics", "/.well-known/oauth-authorization-server"})
"""The paths that need no authentication."""

CONFORMANCE = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


async def described(api: ApiInMemory) -> dict[str, Any]:
    """The app's OpenAPI document."""
    document: dict[str, Any] = (await api.get("/openapi.json", caller=None)).json
    return document


async def test_exactly_the_statuses_of_the_contract_are_declared() -> None:
    """Every path, method and status of the contract is declared, and nothing else."""
    paths = (await described(ApiInMemory()))["paths"]

    declared = {
        path: {method: {int(status) for status in operation["responses"]} for method, operation in methods.items()}
        for path, methods in paths.items()
    }
    assert declared == CONTRACT


async def test_operations_that_need_authentication_say_so() -> None:
    """All operations except those for operators and discovery declare how to authenticate, with a declared scheme."""
    document = await described(ApiInMemory())
    schemes = document["components"]["securitySchemes"]

    for method, path in OPERATIONS:
        security = document["paths"][path][method.lower()].get("security", [])
        assert bool(security) == (path not in OPEN), path
        assert {name for alternative in security for name in alternative} <= set(schemes)


# Situations for every status ----------------------------------------------------------------------------------------

THROTTLED = make_caller("throttled", make_rule(actions=ALL_ACTIONS), rate_limit=RateLimit(1, 3600.0))
EVERYWHERE = make_caller("everywhere", make_rule(actions=ALL_ACTIONS))
STRANGER = make_caller("stranger", make_rule(OTHER_ORG))
A_JWT = "eyJ.a.b"
MALFORMED = "nonsense"


@dataclass(frozen=True)
class Situation:
    """What leads to an answer.

    Args:
        caller: Who asks; None for no authentication, and `A_JWT` for a caller with a JWT.
        org: The org of the request; `/orgs` takes no org, so a request with one is malformed.
        around: Prepares the broker's surroundings.
        times: The number of requests; the last answer counts.

    """

    caller: str | None = "everywhere"
    org: str = ORG
    around: Callable[[ApiInMemory], None] = lambda _api: None
    times: int = 1


def _ims_refuses(api: ApiInMemory) -> None:
    api.world.exchanger.failures[ORG] = CredentialRejectedError("invalid_client")


def _no_keys_of_the_issuer(api: ApiInMemory) -> None:
    api.verifier.failure = IdentityUnavailableError("The keys of the issuer are unavailable.")


def _a_bug(api: ApiInMemory) -> None:
    api.verifier.failure = RuntimeError("a bug")


def _unmatched(api: ApiInMemory) -> None:
    api.verifier.failure = UnknownCallerError(SignedFor("https://issuer.example", "unknown"))


def _many_refused_credentials(api: ApiInMemory) -> None:
    api.verifier.failure = SourceLimitedError(5.0)


def _at_capacity(api: ApiInMemory) -> None:
    api.limit(Limits(waiting=0))


def _not_ready(api: ApiInMemory) -> None:
    api.readiness.ready = False


SITUATIONS = {
    "all is well": Situation(),
    "malformed": Situation(org=MALFORMED),
    "no authentication": Situation(caller=None),
    "a stranger": Situation(caller="stranger"),
    "nothing stored": Situation(org=UNKNOWN_ORG),
    "over the limit": Situation(caller="throttled", times=2),
    "IMS refuses": Situation(around=_ims_refuses),
    "no keys of the issuer": Situation(caller=A_JWT, around=_no_keys_of_the_issuer),
    "a JWT of no caller": Situation(caller=A_JWT, around=_unmatched),
    "many refused credentials": Situation(caller=A_JWT, around=_many_refused_credentials),
    "at capacity": Situation(around=_at_capacity),
    "not ready": Situation(around=_not_ready),
    "a bug": Situation(caller=A_JWT, around=_a_bug),
}


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=lambda part: str(part))
async def test_every_declared_status_is_answered_as_declared(method: str, path: str) -> None:
    """Each operation answers every status that it declares and no other, with declared headers, media type and body."""
    schema = schemathesis.openapi.from_dict(await described(ApiInMemory()))
    statuses = set()
    for situation in SITUATIONS.values():
        api = ApiInMemory(EVERYWHERE, STRANGER, THROTTLED)
        api.readiness.ready = True
        situation.around(api)
        query = "" if path == "/orgs" and situation.org != MALFORMED else urlencode({"org": situation.org})
        for _ in range(situation.times - 1):
            await _asked(api, situation.caller, method, path, query)
        answer = await _asked(api, situation.caller, method, path, query)
        statuses.add(answer.status)
        schema[path][method].Case().validate_response(_seen(answer, method, path), checks=CONFORMANCE)

    assert statuses == CONTRACT[path][method.lower()]


async def _asked(
    api: ApiInMemory, caller: str | None, method: str, path: str, query: str, **fields: str
) -> AsgiResponse:
    """The answer to an operation's request, sent as a client would; `fields` are added to its form."""
    if path == "/oauth2/token":
        headers, form = _as_oauth_client(caller)
        body = urlencode({"grant_type": "client_credentials", **form, **fields}).encode()
        return await api.ask(method, f"{path}?{query}", *headers, caller=None, body=body)
    credential = () if caller is None else (("Authorization", f"Bearer {_credential(caller)}"),)
    body = json.dumps({"token_sha256": "0" * 64}).encode() if path == "/token/report" else b""
    if path == "/tokens":
        body = json.dumps({"items": [] if MALFORMED in query else [{"org": ORG}]}).encode()
    # The description of the token endpoint depends on the Host alone; without one the request is malformed.
    host = () if MALFORMED in query else (("Host", "broker.test"),)
    return await api.ask(method, f"{path}?{query}", *credential, *host, caller=None, body=body)


def _as_oauth_client(caller: str | None) -> tuple[list[Header], Mapping[str, str]]:
    headers: list[Header] = [("Content-Type", "application/x-www-form-urlencoded")]
    if caller == A_JWT:
        bearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        return headers, {"client_assertion": A_JWT, "client_assertion_type": bearer}
    if caller is not None:
        basic = base64.b64encode(f"{caller}:{_credential(caller)}".encode()).decode()
        headers.append(("Authorization", f"Basic {basic}"))
    return headers, {}


def _credential(caller: str) -> str:
    return caller if caller == A_JWT else make_api_key(caller)


def _seen(answer: AsgiResponse, method: str, path: str) -> schemathesis.Response:
    """An answer in the form that schemathesis reads."""
    headers: dict[str, list[str]] = {}
    for name, value in answer.headers:
        headers.setdefault(name, []).append(value)
    request = requests.Request(method, f"http://broker.test{path}").prepare()
    return schemathesis.Response(answer.status, headers, answer.body, request, elapsed=0.0, verify=False)


# Values of every parameter ------------------------------------------------------------------------------------------

VALUES = [
    *("", " ", "0", "1", "-1", "+1", "0.5", "1e3", "1000", "1001", "43200", "43201", "100000", "\u0661"),
    *("null", "true", "default", "a" * 64, "a" * 65, "_x", "-x", "x_-", "a/b", ".."),
    *("ä", "a\n", "\n", "\x00", "\x7f", "\u2028"),
    *(ORG, ORG.lower(), f"{ORG}\n", f" {ORG}", f"{ORG}x", ORG[1:], ORG.replace("@", "%40"), f"{ORG},{ORG}"),
    *(f"{ORG}/default", f"{ORG}/", f"{ORG}/a/b", f"{ORG}/_", "/default"),
    *("openid", "openid AdobeID", "openid,AdobeID", " ,openid,  AdobeID, ", "openid\tAdobeID", 'open"id', "open\\id"),
    *("!#+-[]~", ",", "s" * 200, "s" * 201, " ".join(map(str, range(64))), " ".join(map(str, range(65)))),
]
SCOPE = r"[!#-+\--\[\]-~]{1,200}"
"""RFC 6749 section 3.3, without the comma and with a sane length."""


@pytest.mark.parametrize(("method", "path"), [(method, path) for method, path in OPERATIONS if path not in OPEN])
async def test_a_parameter_is_malformed_exactly_if_its_declaration_says_so(method: str, path: str) -> None:
    """A value that a parameter's schema accepts is never `invalid_request`, and any other value always is."""
    declared = (await described(ApiInMemory()))["paths"][path][method.lower()].get("parameters", [])
    api = ApiInMemory(EVERYWHERE)
    # The credential has every well-formed scope: one that it lacks would be an invalid request, too.
    well_formed = {part for value in VALUES for part in re.split("[ ,]+", value) if re.fullmatch(SCOPE, part)}
    api.world.put(make_credential(scopes=tuple(Scope(part) for part in sorted(well_formed))))

    for parameter in declared:
        for value in VALUES:
            others = {} if path == "/orgs" else {"org": ORG}
            query = urlencode({**others, parameter["name"]: value})
            answer = await _asked(api, "everywhere", method, path, query)
            refused = answer.status >= 400 and answer.json["code"] == "invalid_request"
            assert refused != _takes(parameter["schema"], value), (parameter["name"], value, answer)


async def test_a_form_field_is_malformed_exactly_if_its_declaration_says_so() -> None:
    """The same is true for the form of `/oauth2/token`; empty fields count as absent, unknown ones are ignored."""
    operation = (await described(ApiInMemory()))["paths"]["/oauth2/token"]["post"]
    schema = operation["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
    assert schema["additionalProperties"] == {"type": "string"}
    fields = {**schema["properties"], "unknown": {"pattern": "(?s).*"}}
    api = ApiInMemory(EVERYWHERE)

    for name in ("org", "credential", "unknown"):
        for value in VALUES:
            query = "" if name == "org" and value else urlencode({"org": ORG})
            answer = await _asked(api, "everywhere", "POST", "/oauth2/token", query, **{name: value})
            refused = answer.status >= 400 and answer.json["code"] == "invalid_request"
            assert refused != _takes(fields[name], value), (name, value, answer)


def _takes(schema: Mapping[str, Any], value: str) -> bool:
    """Whether a parameter's schema accepts a text."""
    if schema.get("type") == "integer":
        return re.fullmatch("-?[0-9]+", value) is not None and schema["minimum"] <= int(value) <= schema["maximum"]
    return re.fullmatch(schema["pattern"], value) is not None


# Generated requests -------------------------------------------------------------------------------------------------

ANYTHING = f"""
[generation]
max-examples = 25
deterministic = true
database = "none"

# Most requests must get past the policy; otherwise only 403 would be tested.
[dictionaries]
orgs.values = ["{ORG}", "{OTHER_ORG}", "{UNKNOWN_ORG}"]
names.values = ["default"]
[parameters]
"query.org" = {{dictionary = "orgs", probability = 0.8}}
"body.org" = {{dictionary = "orgs", probability = 0.8}}
"query.credential" = {{dictionary = "names", probability = 0.8}}
"body.credential" = {{dictionary = "names", probability = 0.8}}

[[operations]]
include-path = "/oauth2/token"
# By RFC 6749 section 5.2 a refusal by the policy is a 400, and no schema can say that the org is needed in the form
# or in the query, that both must be equal, and that the client authenticates once.
checks.positive_data_acceptance.enabled = false
warnings = false

[[operations]]
include-path = "/headers"
# It answers every method, even those unknown to OpenAPI: a gateway uses the method of its client's request.
checks.unsupported_method.enabled = false
"""
PROVEN = """
[auth.openapi.bearer]
bearer = "${API_KEY}"
[auth.openapi.client_secret_basic]
username = "${CALLER}"
password = "${API_KEY}"
"""
ANY_SCOPE = """
# A scope that the credential does not have is a 400, which no schema can express.
[checks]
positive_data_acceptance.enabled = false
"""
OWN_SCOPES = f"""
[dictionaries.scopes]
values = ["{" ".join(SCOPES)}", "openid", "AdobeID openid", "openid,AdobeID", " openid,  AdobeID "]
[parameters."query.scope"]
dictionary = "scopes"
probability = 1.0
[parameters."body.scope"]
dictionary = "scopes"
probability = 1.0

[phases.coverage.checks]
# This phase does not use dictionaries, so some of its scopes are not the credential's.
positive_data_acceptance.enabled = false

[warnings]
fail-on = true
"""
CONFIGURATIONS = {
    "no caller": ANYTHING,
    "a caller with any scopes": ANYTHING + PROVEN + ANY_SCOPE,
    "a caller with its own scopes": ANYTHING + PROVEN + OWN_SCOPES,
}


@dataclass(frozen=True)
class Explored:
    """A running broker, and the API key of a caller that may do everything there."""

    url: str
    key: str


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Explored]:
    """A real process with two valid tenants, a third org without a credential, and a caller that may do everything."""
    folder = tmp_path_factory.mktemp("explored")
    with sandbox_backend(folder) as sandbox, contextlib.ExitStack() as stack:
        for org, kind in {ORG: "oauth_server_to_server", OTHER_ORG: "enterprise_web_app"}.items():
            tenant = Tenant(sandbox.base_url, org=org, kind=kind, token_lifetime=86_400)
            sandbox.put_client(tenant.client())
            document = folder / "credentials" / tenant.org / "default.json"
            document.parent.mkdir(parents=True)
            document.write_text(json.dumps(tenant.document()))
        policy = PolicyDocument(folder / "policy.json")
        key = policy.caller(
            CALLER, {"orgs": [ORG, OTHER_ORG, UNKNOWN_ORG], "actions": ["vend", "report", "purge", "status"]}
        )
        settings = {
            "POLICY_FILE": str(policy.path),
            "CREDENTIAL_STORE": "directory",
            "CREDENTIAL_DIR": str(folder / "credentials"),
            "IMS_BASE_URLS": sandbox.base_url,
        }
        replica = BrokerProcess("explored", folder, settings, key)
        stack.callback(replica.process.kill)
        replica.process.launch()
        replica.listen()
        yield Explored(replica.url, key)


@pytest.mark.parametrize("config", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_schemathesis_finds_nothing(explored: Explored, config: str, tmp_path: Path) -> None:
    """No answer to a request generated from the document, valid or not, violates the document in any check."""
    report = _explore(explored, config, tmp_path)

    assert report["failures"] == report["errors"] == []
    assert report["complete"]
    assert report["operations"]["tested"] == report["operations"]["total"] == len(OPERATIONS)
    assert {phase["status"] for phase in report["phases"].values()} == {"success"}
    accepted = {name for name, rates in report["valid_rates"].items() if any(r["accepted"] for r in rates.values())}
    admitted = OPERATIONS if PROVEN in config else [(method, path) for method, path in OPERATIONS if path in OPEN]
    assert accepted == {f"{method} {path}" for method, path in admitted}


def _explore(explored: Explored, config: str, folder: Path) -> dict[str, Any]:
    (folder / "explore.toml").write_text(config)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", "explore.toml", "run"]
    options = ["--continue-on-failure", "--report", "json", "--report-json-path", "report.json"]
    result = subprocess.run(
        [*command, f"{explored.url}/openapi.json", *options],
        cwd=folder,
        env={**environment(folder), "CALLER": CALLER, "API_KEY": explored.key},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report
