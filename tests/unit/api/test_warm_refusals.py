"""Refusals from memory: what the policy in force denied, to the one caller that asked."""

from __future__ import annotations

from app.api.caller_gate import CallerGate
from app.api.facts import RequestFacts
from app.api.problems import problem_response
from app.api.warm import MAX_WARM_QUERY_BYTES, WarmPath
from app.api.warm_refusals import DENIED_BYTES, WarmRefusals
from app.domain.errors import ForbiddenError, InvalidRequestError
from app.domain.events import RequestDecided
from app.domain.names import CredentialRef
from app.domain.policy import Action
from tests.factories import OTHER_ORG, make_api_key, make_caller, make_rule
from tests.support.api_in_memory import JOURNEY, OPERATOR, ApiInMemory

DENIED = f"/token?org={OTHER_ORG}"


def path_of(api: ApiInMemory) -> WarmPath:
    """The warm path of ``/token``."""
    path: WarmPath = api.app.warm._paths["/token"]
    return path


class Denied:
    """Refusals with a memory of their own, and callers that are known to the gate."""

    def __init__(self, api: ApiInMemory, limit: int) -> None:
        self.api = api
        self.gate = CallerGate(api.policy, api.verifier, api.clock, api.fleet_limits)
        self.refusals = WarmRefusals("/token", self.gate, problem_response, limit)

    async def learn(self, query: str, name: str = "journey", denied: ForbiddenError | None = None) -> None:
        """Deny one query of a caller."""
        admission = await self.gate.admit([f"Bearer {make_api_key(name)}".encode()])
        facts = RequestFacts("/token", Action.VEND, admission, CredentialRef(OTHER_ORG))
        facts.denied = denied or ForbiddenError()
        self.refusals.learn(facts, query.encode())

    async def knows(self, query: str, name: str = "journey") -> bool:
        """Whether that query would be refused."""
        admission = await self.gate.admit([f"Bearer {make_api_key(name)}".encode()])
        return self.refusals.denied(admission, query.encode(), self.api.clock()) is not None


async def test_a_caller_that_is_denied_very_much_evicts_only_its_own_queries(api: ApiInMemory) -> None:
    """And nothing that was allowed, which has a memory of its own."""
    denied = Denied(api, 20 * DENIED_BYTES)
    await denied.learn("its only query", "operator")
    for number in range(1000):
        await denied.learn(f"query {number}")
    assert await denied.knows("its only query", "operator")
    assert await denied.knows("query 999")
    assert not await denied.knows("query 0")
    assert denied.refusals._denied.used <= 20 * DENIED_BYTES


async def test_what_one_caller_is_denied_another_one_is_not(api: ApiInMemory) -> None:
    """Not by its name, its API key or the query."""
    denied = Denied(api, 10**6)
    await denied.learn("query")
    assert [await denied.knows(*of) for of in (("query",), ("query", "operator"), ("other query",))] == [
        True,
        False,
        False,
    ]
    api.change_policy(JOURNEY, OPERATOR)
    assert await denied.knows("query"), "the same caller, whose rules have not changed"
    api.change_policy(make_caller("journey"), OPERATOR)
    assert not await denied.knows("query")
    await denied.learn("other query", "operator")
    assert len(denied.refusals._denied) == 1, "what an earlier policy denied is dropped"


async def test_a_refused_request_is_one_object_for_all_like_it(api: ApiInMemory) -> None:
    """So that metrics and the audit log make their part of it once; the memory holds no error that was raised."""
    for _ in range(4):
        assert (await api.get(DENIED)).status == 403
        assert (await api.get(caller="stranger")).status == 401
    decisions = [event.decision for event in api.sink.of(RequestDecided)]
    assert len({id(decision) for decision in decisions if decision.outcome == "unauthenticated"}) == 1
    assert len({id(decision) for decision in decisions[2:] if decision.outcome == "forbidden"}) == 1
    [denied] = path_of(api)._refusals._denied.values()
    assert denied.refused.error.__traceback__ is None


async def test_only_a_denial_by_the_policy_is_remembered(api: ApiInMemory) -> None:
    """Not a malformed query, a long one, or a policy that changed too often during a request."""
    for target in ("/token?org=x", f"{DENIED}{'&' * MAX_WARM_QUERY_BYTES}", "/token"):
        assert (await api.get(target)).status in {400, 403}
    assert len(path_of(api)._refusals._denied) == 0
    denied = Denied(api, 10**6)
    admission = await denied.gate.admit([f"Bearer {make_api_key('journey')}".encode()])
    facts = RequestFacts("/token", Action.VEND, admission, CredentialRef(OTHER_ORG))
    denied.refusals.learn(facts, b"query")
    assert not await denied.knows("query"), "no rule said so"
    facts.denied = ForbiddenError()
    api.change_policy(make_caller("journey", make_rule(OTHER_ORG)))
    denied.refusals.learn(facts, b"query")
    assert len(denied.refusals._denied) == 0, "the policy in force may allow it"


async def test_a_rule_in_audit_mode_is_named_each_time(api: ApiInMemory) -> None:
    """A request that is refused from memory is reported with the rule that would have allowed it."""
    denied = Denied(api, 10**6)
    await denied.learn("query", denied=ForbiddenError("callers[0].allow[1]"))
    admission = await denied.gate.admit([f"Bearer {make_api_key('journey')}".encode()])
    refused = denied.refusals.denied(admission, b"query", api.clock())
    assert refused is not None
    assert (refused.decision.audit_rule, refused.decision.org) == ("callers[0].allow[1]", OTHER_ORG)


def test_only_a_refused_credential_has_a_reason() -> None:
    """The facts of a request name a reason only if the credential was refused."""
    facts = RequestFacts("/token", Action.VEND)
    assert facts.refused(InvalidRequestError("x")).reason is None
