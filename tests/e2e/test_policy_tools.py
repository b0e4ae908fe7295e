"""The policy tools as real processes, on the policy and the audit log of a real broker."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.domain.api_key import SECRET_BYTES, new_api_key
from tests.support.audit_schema import misfits
from tests.support.broker_without_vault import BrokerWithoutVault, broker_without_vault
from tests.support.processes import Finished, run_cli

USED, UNUSED = (new_api_key(name, secrets.token_bytes(SECRET_BYTES)) for name in ("used", "unused"))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerWithoutVault]:
    """One broker with one tenant, whose policy has a rule in force, one that is logged, and two keys."""
    with broker_without_vault(tmp_path_factory.mktemp("policy-tools"), 1) as running:
        digests = [hashlib.sha256(key.encode()).hexdigest() for key in (USED, UNUSED)]
        org = running.tenants[0].org
        rules = [{"orgs": [org], "actions": ["vend"]}, {"orgs": [org], "actions": ["purge"], "mode": "audit"}]
        policy = {"version": 1, "callers": [{"name": "journey", "match": {"api_key_sha256": digests}, "allow": rules}]}
        draft = running.policy.path.with_suffix(".new")
        draft.write_text(json.dumps(policy))
        draft.replace(running.policy.path)
        yield running


async def tool(broker: BrokerWithoutVault, *words: str) -> Finished:
    """Run a policy tool on the broker's policy, as a process whose output is a pipe."""
    return await run_cli("policy", *words, env={"BROKER_POLICY_FILE": str(broker.policy.path)})


async def test_explanation_and_broker_agree(broker: BrokerWithoutVault) -> None:
    """The broker answers 200 or 403 as `policy explain` says, and the audit log names the rule with mode audit."""
    replica, org = broker.replica, broker.tenants[0].org
    await _until_allowed(broker)
    refused = await replica.get(f"/token?org={org}", method="DELETE", key=USED)
    asked = ("explain", "--caller", "journey", "--org", org, "--action")
    vend, purge = await tool(broker, *asked, "vend"), await tool(broker, *asked, "purge")
    assert (vend.code, purge.code, refused.status) == (0, 1, 403)
    assert "mode would need enforce" in purge.stdout
    line = await broker.audit_line(action="purge", outcome="forbidden")
    assert (line["audit_rule"], misfits([line])) == ("callers[0].allow[1]", [])


async def test_a_review_of_the_brokers_own_log(broker: BrokerWithoutVault) -> None:
    """The key and the rules that the broker has logged are in use, and the other key is not seen; no key is printed."""
    await _until_allowed(broker)
    await broker.audit_line(outcome="vended", api_key_sha256=hashlib.sha256(USED.encode()).hexdigest()[:16])
    found = await tool(broker, "review", str(broker.replica.audit), "--json")
    verdicts = {item["name"]: item["verdict"] for item in json.loads(found.stdout)["items"]}
    used, unused = (hashlib.sha256(key.encode()).hexdigest()[:16] for key in (USED, UNUSED))
    assert (found.code, verdicts[used], verdicts[unused]) == (0, "in_use", "unseen")
    assert verdicts["callers[0].allow[0]"] == "in_use"
    assert not any(key in found.stdout + found.stderr for key in (USED, UNUSED))


async def test_output_to_a_pipe_has_no_colours(broker: BrokerWithoutVault, tmp_path: Path) -> None:
    """No command writes an escape sequence into a pipe, and a difference is exit code 1."""
    other = tmp_path / "other.json"
    other.write_text(broker.policy.path.read_text().replace('"purge"', '"status"').replace('"audit"', '"enforce"'))
    diff = await tool(broker, "diff", str(broker.policy.path), str(other))
    assert (diff.code, "journey gains status for " in diff.stdout) == (1, True)
    for found in (diff, await tool(broker, "explain", "--org", broker.tenants[0].org), await tool(broker, "check")):
        assert "\x1b" not in found.stdout + found.stderr


async def _until_allowed(broker: BrokerWithoutVault) -> None:
    """Wait until the broker has the policy, and answers with a token."""
    target = f"/token?org={broker.tenants[0].org}"
    for _ in range(100):
        if (await broker.replica.get(target, key=USED)).status == 200:
            return
        await asyncio.sleep(0.1)
    pytest.fail("the policy is not in force after 10 s")
