"""`GET /orgs`: what a caller may know about its tenants, and never a token or secret."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from app.domain.credential import CredentialKind
from app.domain.dependency_errors import CredentialStoreError
from app.domain.names import CredentialName, CredentialRef, OrgId
from app.domain.policy import Action
from app.domain.tenant_errors import CredentialRejectedError
from tests.factories import (
    ORG,
    OTHER_ORG,
    OTHER_REF,
    REF,
    UNKNOWN_ORG,
    make_api_key,
    make_caller,
    make_credential,
    make_rule,
)
from tests.fakes import DAY, NOW
from tests.support.api_in_memory import ApiInMemory
from tests.support.asgi_client import AsgiResponse
from tests.support.replica_in_memory import ReplicaInMemory

STATUS = [Action.STATUS]
WATCHER = make_caller("watcher", make_rule(ORG, actions=[Action.VEND, Action.STATUS]), make_rule(OTHER_ORG))
OVERSEER = make_caller("overseer", make_rule(actions=STATUS))
ABSENT = {"state": "absent", "expires_at": None, "refresh_at": None, "generation": None}


@pytest.fixture
def api() -> ApiInMemory:
    """The API with one caller that may see one org, one that may see all, and one that may see none."""
    return ApiInMemory(WATCHER, OVERSEER, make_caller("journey"))


def seen(answer: AsgiResponse) -> list[str]:
    """The credentials of a page, each in the form of `after`."""
    assert answer.status == 200
    return [f"{item['org_id']}/{item['credential']}" for item in answer.json["orgs"]]


async def only(api: ApiInMemory, caller: str = "watcher") -> dict[str, Any]:
    """The one item that a caller sees."""
    [item] = (await api.get("/orgs", caller=caller)).json["orgs"]
    assert isinstance(item, dict)
    return item


async def test_a_credential_without_a_token_is_listed_with_all_its_fields(api: ApiInMemory) -> None:
    """Kind and generation come from the document; nothing is minted; the answer may not be stored."""
    answer = await api.get("/orgs", caller="watcher")
    assert answer.json == {
        "orgs": [
            {
                "org_id": ORG,
                "credential": "default",
                "kind": "oauth_server_to_server",
                "generation": "1",
                "certificate_expires_at": None,
                "token": ABSENT,
                "last_error": None,
            }
        ],
        "next": None,
    }
    assert answer.header("content-type") == "application/json"
    assert answer.header("cache-control") == "no-store"
    assert api.world.exchanges == 0


async def test_a_token_is_listed_with_its_times_and_state(api: ApiInMemory) -> None:
    """It is fresh until its refresh is due, aging until it is no longer vended, then expired."""
    await api.get(caller="watcher")
    assert NOW + DAY == 1_900_086_400.0
    token = (await only(api))["token"]
    assert token == {
        "state": "fresh",
        "expires_at": "2030-03-18T17:46:40Z",
        "refresh_at": "2030-03-18T05:46:40Z",
        "generation": "1",
    }
    for seconds, state in ((DAY / 2, "aging"), (DAY / 2 - 60, "expired")):
        api.clock.advance(seconds)
        assert (await only(api))["token"] == token | {"state": state}


async def test_a_token_that_another_replica_minted_is_listed(api: ApiInMemory) -> None:
    """A token in the shared cache is listed, because this replica would vend it; without the cache it is unknown."""
    await ReplicaInMemory(api.world).vend()
    assert (await only(api))["token"]["state"] == "fresh"
    api.world.redis_down()
    assert (await only(api))["token"] == ABSENT


async def test_a_changed_document_is_listed_with_the_token_of_the_old_one(api: ApiInMemory) -> None:
    """Kind and generation are those of the current document; the token keeps the generation that minted it."""
    await api.get(caller="watcher")
    api.world.put(make_credential(kind=CredentialKind.JWT, generation="2", certificate="any PEM"))
    item = await only(api)
    assert (item["kind"], item["generation"], item["token"]["generation"]) == ("jwt", "2", "1")
    assert item["certificate_expires_at"] == "1970-01-01T00:00:12Z"


async def test_a_caller_sees_only_credentials_of_rules_with_status(api: ApiInMemory) -> None:
    """A rule for vending shows nothing, and a rule for every org shows the stored credentials with its names."""
    second = CredentialName("second")
    api.world.put(make_credential(CredentialRef(ORG, second)))
    assert seen(await api.get("/orgs", caller="watcher")) == [f"{ORG}/default"]
    assert seen(await api.get("/orgs", caller="overseer")) == [f"{ORG}/default", f"{OTHER_ORG}/default"]
    api.change_policy(
        make_caller(
            "overseer", make_rule(actions=STATUS, credentials=["second"]), make_rule(UNKNOWN_ORG, actions=STATUS)
        )
    )
    assert seen(await api.get("/orgs", caller="overseer")) == [f"{UNKNOWN_ORG}/default", f"{ORG}/second"]


async def test_a_caller_without_a_rule_with_status_gets_403(api: ApiInMemory) -> None:
    """It gets 403 for any query, however many orgs it may vend for; an anonymous request gets 401."""
    assert (await api.get("/orgs")).code == "forbidden"
    assert (await api.get("/orgs?limit=nonsense")).code == "forbidden"
    assert (await api.get("/orgs", caller=None)).code == "unauthenticated"
    assert api.world.store.fetches == []


async def test_pages_follow_one_another_without_gap_or_repetition(api: ApiInMemory) -> None:
    """Following `next` yields every item once, in order; the last page has no `next`."""
    orgs = [OrgId(f"{number:024d}@AdobeOrg") for number in range(1, 6)]
    for org in orgs:
        api.world.put(make_credential(CredentialRef(org)))
    whole = seen(await api.get("/orgs", caller="overseer"))
    assert len(whole) == 7
    for limit in (1, 3, 6, 7, 1000):
        walked: list[str] = []
        query = f"limit={limit}"
        while query:
            answer = await api.get(f"/orgs?{query}", caller="overseer")
            walked += seen(answer)
            after = answer.json["next"]
            assert len(answer.json["orgs"]) == limit or after is None
            assert after == (None if walked == whole else walked[-1])
            query = f"limit={limit}&after={quote(after, safe='')}" if after else ""
        assert walked == whole


async def test_a_page_has_a_hundred_items_by_default(api: ApiInMemory) -> None:
    """The default limits how much one request reads from the store."""
    for number in range(101):
        api.world.put(make_credential(CredentialRef(OrgId(f"{number:024d}@AdobeOrg"))))
    answer = await api.get("/orgs", caller="overseer")
    assert len(seen(answer)) == 100
    assert answer.json["next"] == f"{99:024d}@AdobeOrg/default"
    assert len(api.world.store.fetches) == 100


async def test_a_page_may_begin_after_a_credential_that_is_gone(api: ApiInMemory) -> None:
    """`after` is a position in the order, even if the credential was removed or never existed."""
    assert seen(await api.get(f"/orgs?after={UNKNOWN_ORG}/zzz", caller="overseer")) == [
        f"{ORG}/default",
        f"{OTHER_ORG}/default",
    ]
    answer = await api.get(f"/orgs?after={OTHER_ORG}/default", caller="overseer")
    assert answer.json == {"orgs": [], "next": None}


@pytest.mark.parametrize(
    "query",
    [
        *("limit=", "limit=0", "limit=1001", "limit=-1", "limit=01", "limit=1.0", "limit=+1", "limit=%D9%A1"),
        *("after=", "after=nonsense", f"after={ORG}", f"after={ORG}/", f"after={ORG}/..", f"after={ORG}/a/b"),
        *("limit=1&limit=1", f"org={ORG}", "limit", "limit=1%0a"),
    ],
)
async def test_a_bad_query_is_400(api: ApiInMemory, query: str) -> None:
    """A malformed, out-of-range, repeated or unknown parameter is refused, and nothing is read."""
    answer = await api.get(f"/orgs?{query}", caller="overseer")
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert api.world.store.fetches == []


async def test_the_last_error_is_listed_until_a_minting_succeeds(api: ApiInMemory) -> None:
    """Its code, not its text, is listed for this tenant only, until the next success."""
    api.world.exchanger.failures[ORG] = CredentialRejectedError("invalid_client", "debug-1")
    assert (await api.get(caller="watcher")).status == 502
    answer = await api.get("/orgs", caller="overseer")
    assert [item["last_error"] for item in answer.json["orgs"]] == ["credential_rejected", None]
    assert b"debug-1" not in answer.body
    del api.world.exchanger.failures[ORG]
    assert (await api.get(caller="watcher")).status == 200
    assert (await only(api))["last_error"] is None


async def test_a_missing_credential_that_a_rule_names_is_listed(api: ApiInMemory) -> None:
    """An operator sees which credentials are still to be added."""
    del api.world.store.documents[REF]
    item = await only(api)
    assert (item["kind"], item["generation"], item["last_error"]) == (None, None, "credential_not_found")


async def test_an_outage_of_the_store_is_503_only_if_it_must_list(api: ApiInMemory) -> None:
    """A rule for every org needs the list; named orgs are listed with the known fields and the error."""
    await api.get(caller="watcher")
    api.world.store.failure = CredentialStoreError("Vault is sealed.")
    answer = await api.get("/orgs", caller="overseer")
    assert (answer.status, answer.code, answer.header("retry-after")) == (503, "vault_unavailable", "5")
    item = await only(api)
    assert (item["kind"], item["generation"]) == ("oauth_server_to_server", "1")
    assert (item["token"]["state"], item["last_error"]) == ("fresh", "vault_unavailable")


async def test_no_token_key_or_secret_is_in_the_answer(api: ApiInMemory) -> None:
    """The answer has no secret of any kind of credential, no token in memory and no API key."""
    api.world.put(
        make_credential(OTHER_REF, CredentialKind.JWT, secrets=("canary-1", "canary-2"), certificate="canary")
    )
    token = (await api.get(caller="watcher")).json["access_token"]
    assert (await api.get(f"/token?org={OTHER_ORG}", caller="watcher")).status == 200
    answer = await api.get("/orgs", caller="overseer")
    assert [item["token"]["state"] for item in answer.json["orgs"]] == ["fresh", "fresh"]
    for secret in ("canary", "eyJ", token, make_api_key("overseer")):
        assert secret not in answer.body.decode()
