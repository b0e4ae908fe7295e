"""The sandbox's API for client secrets over sockets: what it answers, whom it refuses, and what exchanges notice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from app.sandbox.secrets_api import SCOPES
from tests.support import grants
from tests.support.ims_server import RunningSandbox, run_sandbox
from tests.support.manual_time import ManualTime
from tests.support.sandbox_clients import enterprise_client, jwt_client, oauth_client

CONSOLE_ORG, CREDENTIAL = "23294", "436084"
SECRETS = f"/console/organizations/{CONSOLE_ORG}/credentials/{CREDENTIAL}/secrets"
MANAGED = replace(oauth_client(), scopes=SCOPES, console_org_id=CONSOLE_ORG, credential_id=CREDENTIAL)
STRANGER = replace(oauth_client(client_id="stranger", org=grants.OTHER_ORG), scopes=SCOPES)
OLD, NEW = grants.SECRET, "p8e-canary-second-secret"


@pytest.fixture
def time() -> ManualTime:
    """The sandbox's clock."""
    return ManualTime(1_683_005_777.0)


@pytest.fixture
async def ims(time: ManualTime) -> AsyncIterator[RunningSandbox]:
    """A sandbox with a credential that manages its own secrets, and a stranger's."""
    async with run_sandbox([MANAGED, STRANGER], clock=time.now) as running:
        yield running


@pytest.fixture
async def http(ims: RunningSandbox) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the sandbox."""
    async with httpx2.AsyncClient(base_url=ims.base_url, trust_env=False) as client:
        yield client


async def exchange(
    http: httpx2.AsyncClient, secret: str = OLD, scopes: tuple[str, ...] = SCOPES, client_id: str = grants.CLIENT_ID
) -> httpx2.Response:
    """Exchange a secret for a token with these scopes."""
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    return await http.post("/ims/token/v3", data={**form, "scope": ",".join(scopes)})


async def headers(http: httpx2.AsyncClient, **changes: Any) -> dict[str, str]:
    """The headers of a call with a new token."""
    answer = await exchange(http, **changes)
    token = answer.json()["access_token"]
    return {"Authorization": f"Bearer {token}", "X-Api-Key": changes.get("client_id", grants.CLIENT_ID)}


async def listed(http: httpx2.AsyncClient, called: dict[str, str]) -> list[dict[str, Any]]:
    """The secrets that the API lists."""
    answer = await http.get(SECRETS, headers=called)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["client_secrets"]
    return found


def last_use(secret: dict[str, Any]) -> str | None:
    """When a secret was last used, if ever."""
    usages = secret["secret_usages"]
    return None if usages is None else usages[0]["last_used_at"]


async def test_secrets_are_listed_as_in_adobes_documentation(http: httpx2.AsyncClient, time: ManualTime) -> None:
    """The list has Adobe's fields with times as text in milliseconds, and no secret."""
    called = await headers(http)
    time.advance(1.5)
    answer = await http.get(SECRETS, headers=called)
    assert OLD not in answer.text
    assert answer.json()["client_id"] == grants.CLIENT_ID
    [secret] = answer.json()["client_secrets"]
    assert len(bytes.fromhex(secret.pop("uuid"))) == 16
    assert secret == {
        "expires_at": "PERMANENT",
        "expires_at_str": "PERMANENT",
        "created_at": "1683005777000",
        "created_at_str": "Tue, May 2 2023 05:36:17.000 UTC",
        "secret_usages": [{"last_used_at": "1683005777000", "grant_type": "client_credentials"}],
    }


async def test_a_second_secret_works_next_to_the_first(http: httpx2.AsyncClient) -> None:
    """A new secret is shown once, has not been used, and works at once, as the old one still does."""
    called = await headers(http)
    added = await http.post(SECRETS, headers=called)
    assert added.status_code == 201
    value = added.json().pop("client_secret")
    first, second = await listed(http, called)
    assert {**second, "client_secret": value} == added.json()
    assert first["uuid"] != second["uuid"]
    assert second["secret_usages"] is None
    assert [(await exchange(http, secret)).status_code for secret in (OLD, value)] == [200, 200]


async def test_a_third_secret_is_refused(http: httpx2.AsyncClient) -> None:
    """A credential never has three secrets, and a refused third one changes nothing."""
    called = await headers(http)
    await http.post(SECRETS, headers=called)
    before = await listed(http, called)
    refused = await http.post(SECRETS, headers=called)
    assert (refused.status_code, refused.json()["error_code"]) == (400, "400000")
    assert await listed(http, called) == before


async def test_a_deleted_secret_is_refused_at_once(http: httpx2.AsyncClient) -> None:
    """An exchange with a deleted secret fails, tokens it gave stay valid, and it cannot be deleted twice."""
    called = await headers(http)
    value = (await http.post(SECRETS, headers=called)).json()["client_secret"]
    old, _ = await listed(http, called)
    deleted = await http.delete(f"{SECRETS}/{old['uuid']}", headers=called)
    assert (deleted.status_code, deleted.content) == (204, b"")
    refused = await exchange(http, OLD)
    assert (refused.status_code, refused.json()["error_description"]) == (400, "invalid client_secret parameter")
    assert (await exchange(http, value)).status_code == 200
    assert len(await listed(http, called)) == 1
    assert (await http.delete(f"{SECRETS}/{old['uuid']}", headers=called)).status_code == 404


async def test_the_only_secret_cannot_be_deleted(http: httpx2.AsyncClient) -> None:
    """A credential always keeps one secret."""
    called = await headers(http)
    [secret] = await listed(http, called)
    assert (await http.delete(f"{SECRETS}/{secret['uuid']}", headers=called)).status_code == 400
    assert (await exchange(http)).status_code == 200


async def test_the_last_use_follows_exchanges_after_the_lag(http: httpx2.AsyncClient, time: ManualTime) -> None:
    """Until the lag has passed, the API shows the use before, even under many exchanges; refused ones do not count."""
    assert (await http.put("/sandbox/settings", json={"last_used_lag": 60})).status_code == 200
    called = await headers(http)
    value = (await http.post(SECRETS, headers=called)).json()["client_secret"]
    assert [last_use(secret) for secret in await listed(http, called)] == [None, None]
    time.advance(60)
    assert [last_use(secret) for secret in await listed(http, called)] == ["1683005777000", None]
    for _ in range(100):
        await exchange(http, value)
        time.advance(0.125)
    await exchange(http, value, scopes=("unknown",))
    assert [last_use(secret) for secret in await listed(http, called)] == ["1683005777000", None]
    time.advance(60)
    # 99 steps of 125 ms after second 60; the exchange for an unknown scope came later.
    assert [last_use(secret) for secret in await listed(http, called)] == ["1683005777000", "1683005849375"]


async def test_a_secret_keeps_its_uuid_when_its_client_is_replaced(http: httpx2.AsyncClient) -> None:
    """A client that is put again with a further secret keeps uuid and last use of the first."""
    called = await headers(http)
    [before] = await listed(http, called)
    changed = {"org_id": grants.ORG, "kind": "oauth_server_to_server", "client_secrets": [OLD, NEW],
               "scopes": list(SCOPES), "console_org_id": CONSOLE_ORG, "credential_id": CREDENTIAL}  # fmt: skip
    assert (await http.put(f"/sandbox/clients/{grants.CLIENT_ID}", json=changed)).status_code == 200
    first, second = await listed(http, called)
    assert first == before
    assert second["secret_usages"] is None


@pytest.mark.parametrize("missing", SCOPES)
async def test_a_token_without_one_of_the_scopes_is_refused(http: httpx2.AsyncClient, missing: str) -> None:
    """Listing, adding and deleting need each of the scopes that Adobe documents."""
    some = tuple(scope for scope in SCOPES if scope != missing)
    called = await headers(http, scopes=some)
    answers = [
        await http.get(SECRETS, headers=called),
        await http.post(SECRETS, headers=called),
        await http.delete(f"{SECRETS}/0", headers=called),
    ]
    assert [(answer.status_code, answer.json()["error_code"]) for answer in answers] == [(403, "403011")] * 3


@pytest.mark.parametrize(("changes", "status", "code"), [
    ({"X-Api-Key": ""}, 403, "403000"), ({"X-Api-Key": "x"}, 403, "403003"), ({"X-Api-Key": "stranger"}, 403, "403003"),
    ({"Authorization": ""}, 403, "403010"), ({"Authorization": "Bearer forged"}, 401, "401013"),
])  # fmt: skip
async def test_key_and_token_are_checked_as_by_adobes_gateway(
    http: httpx2.AsyncClient, changes: dict[str, str], status: int, code: str
) -> None:
    """The token must be one that was issued, and the API key that of its client."""
    called = {name: value for name, value in {**await headers(http), **changes}.items() if value}
    answer = await http.get(SECRETS, headers=called)
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)


async def test_no_org_can_manage_the_secrets_of_another(http: httpx2.AsyncClient, ims: RunningSandbox) -> None:
    """A credential of another org looks like one that does not exist."""
    called = await headers(http, client_id="stranger")
    unknown = SECRETS.replace(CREDENTIAL, "1")
    for path in (SECRETS, unknown):
        answer = await http.post(path, headers=called)
        assert (answer.status_code, answer.json()["error_code"]) == (404, "404000")
    assert len(ims.sandbox.state.clients.secrets(grants.CLIENT_ID)) == 1


async def test_ids_of_the_console_are_made_up_unless_given(http: httpx2.AsyncClient) -> None:
    """The admin API shows the decimal ids under which a client's secrets are managed."""
    [known] = [c for c in (await http.get("/sandbox/clients")).json()["clients"] if c["client_id"] == "stranger"]
    path = f"/console/organizations/{known['console_org_id']}/credentials/{known['credential_id']}/secrets"
    assert path.replace("/", "").isalnum()
    assert (await http.get(path, headers=await headers(http, client_id="stranger"))).status_code == 200


@pytest.mark.parametrize("org", [grants.ORG, grants.OTHER_ORG])
async def test_an_enterprise_web_app_manages_its_secrets_with_a_token_of_any_org(org: str) -> None:
    """A token that an app got for its own org, or for one that consented, shows the app's secrets."""
    app = replace(enterprise_client(), scopes=SCOPES, console_org_id=CONSOLE_ORG, credential_id=CREDENTIAL)
    async with run_sandbox([app]) as ims, httpx2.AsyncClient(base_url=ims.base_url) as http:
        form = {"grant_type": "client_credentials", "client_id": grants.CLIENT_ID, "client_secret": grants.SECRET}
        asked = {**form, "scope": ",".join(SCOPES), "org_id": org}
        token = (await http.post("/ims/token/v3", data=asked)).json()["access_token"]
        called = {"Authorization": f"Bearer {token}", "X-Api-Key": grants.CLIENT_ID}
        assert (await http.get(SECRETS, headers=called)).status_code == 200


async def test_a_service_account_has_no_secrets_to_manage(http: httpx2.AsyncClient, ims: RunningSandbox) -> None:
    """A credential of kind JWT of the same org is refused."""
    ims.sandbox.state.clients.put(
        replace(jwt_client(), client_id="signs", console_org_id=CONSOLE_ORG, credential_id="77")
    )
    answer = await http.get(SECRETS.replace(CREDENTIAL, "77"), headers=await headers(http))
    assert (answer.status_code, answer.json()["error_code"]) == (400, "400000")


async def test_a_fault_at_this_api_comes_before_any_change(http: httpx2.AsyncClient, ims: RunningSandbox) -> None:
    """A fault at this API replaces the answer before anything is added, and the journal names what was done."""
    called = await headers(http)
    await http.post("/sandbox/faults", json={"kind": "status", "status": 503, "path": "/console", "count": 1})
    assert (await http.post(SECRETS, headers=called)).status_code == 503
    assert len(await listed(http, called)) == 1
    added = await http.post(SECRETS, headers=called)
    await http.delete(f"{SECRETS}/{added.json()['uuid']}", headers=called)
    entries = ims.sandbox.state.journal.entries(endpoint="/console")
    assert [entry.outcome for entry in entries] == ["status", "listed", "added", "deleted"]


async def test_an_answer_can_be_lost_after_the_change(http: httpx2.AsyncClient) -> None:
    """With a lost answer the second secret is there, but its value is known to no one."""
    called = await headers(http)
    await http.post("/sandbox/faults", json={"kind": "lost", "status": 502, "path": "/console", "count": 1})
    lost = await http.post(SECRETS, headers=called)
    assert (lost.status_code, "client_secret" in lost.text) == (502, False)
    assert [last_use(secret) is None for secret in await listed(http, called)] == [False, True]
