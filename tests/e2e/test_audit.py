"""The promise of the audit log: the log of real processes verifies, and every change to it is named."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path

from tests.support.audit_schema import misfits
from tests.support.children import wait_until
from tests.support.fleet import CALLER, Fleet
from tests.support.processes import Finished, run_cli


async def audit(*words: object) -> Finished:
    """``audit`` and what follows, as a process of its own."""
    return await run_cli("audit", *map(str, words))


async def ended(fleet: Fleet) -> None:
    """End all replicas cleanly."""
    for replica in fleet.replicas:
        if replica.process.alive:
            replica.process.terminate()
            assert await asyncio.to_thread(replica.process.ended) == 0


async def test_a_log_outlives_kill_and_rotation(own_fleet: Fleet, tmp_path: Path) -> None:
    """Through requests, a rotation by mv, kill -9 and a restart the log verifies; any line changed then is named."""
    [replica] = own_fleet.start(AUDIT_CHAIN="true")
    tenant = own_fleet.tenant()
    for _ in range(5):
        assert (await replica.token(tenant.org)).status == 200
    replica.process.said('"outcome":"vended"', replica.audit)
    old = replica.audit.rename(tmp_path / "audit.1")
    assert (await replica.token(tenant.org)).status == 200
    await asyncio.to_thread(wait_until, replica.audit.exists, "the file is not created again")
    replica.process.said('"outcome":"vended"', replica.audit)
    replica.process.kill()
    [restarted] = own_fleet.start(AUDIT_CHAIN="true", AUDIT_FILE=str(replica.audit))
    assert (await restarted.purge(tenant.org)).status == 204
    await ended(own_fleet)

    sound = await audit("verify", old, replica.audit)
    assert sound.code == 0, sound
    first, second = sound.stdout.splitlines()
    assert "open: it runs, was killed" in first
    assert second.endswith(", ended")
    lines = old.read_bytes().splitlines(keepends=True)
    old.write_bytes(b"".join(lines).replace(CALLER.encode(), b"stranger", 1))
    tampered = next(number for number, line in enumerate(lines, 1) if CALLER.encode() in line)
    named = await audit("verify", old, replica.audit)
    assert (named.code, named.stdout.splitlines()[0].startswith(f"{old} line {tampered} was changed")) == (1, True)
    whole = replica.audit.read_bytes().splitlines(keepends=True)
    old.write_bytes(b"".join(lines))
    replica.audit.write_bytes(b"".join(whole[1:]))
    assert (await audit("verify", old, replica.audit)).code == 1


async def test_collected_replicas_verify_and_lead_to_who_received_a_token(own_fleet: Fleet, tmp_path: Path) -> None:
    """What two replicas write, collected into one stream, verifies; a token leads to each who received it."""
    replicas = own_fleet.start(2, AUDIT_CHAIN="true", AUDIT_FILE="")
    tenant = own_fleet.tenant()
    key = own_fleet.policy.caller("other", {"orgs": [tenant.org]})
    for replica in replicas:
        replica.process.said('"policy_loaded".*\n(.*\n)*.*"policy_loaded"', replica.process.stdout)
    replies = [await replica.token(tenant.org, key=which) for replica in replicas for which in (None, key)]
    assert {reply.status for reply in replies} == {200}
    [token] = {reply.json["access_token"] for reply in replies}
    await ended(own_fleet)

    outputs = [replica.process.stdout.read_bytes().splitlines(keepends=True) for replica in replicas]
    collected = tmp_path / "collected.log"
    longest = max(map(len, outputs))
    stream = [output[at] for at in range(longest) for output in outputs if at < len(output)]
    collected.write_bytes(b"".join(stream))
    assert misfits(map(json.loads, stream)) == []
    assert (await audit("verify", collected)).code == 0
    digest = hashlib.sha256(token.encode()).hexdigest()
    traced = await audit("trace", "--token-sha256", digest, "--json", collected)
    receivers = json.loads(traced.stdout)["receivers"]
    assert {receiver["caller"] for receiver in receivers} == {CALLER, "other"}
    assert sum(receiver["count"] for receiver in receivers) == 4
    assert {i for r in receivers for i in r["request_ids"]} == {reply.header("x-request-id") for reply in replies}
    collected.write_bytes(b"".join(stream[:4] + stream[5:]))
    assert (await audit("verify", collected)).code == 1
