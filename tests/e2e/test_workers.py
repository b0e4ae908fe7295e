"""One replica with several worker processes at one port: to callers and to operators it is one replica."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from pathlib import Path

from tests.support.children import listens, wait_until
from tests.support.fleet import Fleet
from tests.support.keep_alive_client import KeepAliveClient
from tests.support.processes import run_cli
from tests.support.replica import BrokerProcess
from tests.support.waiting import until, until_answered
from tests.support.wire import connected

RESTARTED = "a worker ended and is started again"


def workers_of(replica: BrokerProcess) -> list[int]:
    """The process ids of its workers."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it has just ended
            continue
        if int(parent) == replica.process.pid and state != "Z":
            found.append(int(stat.parent.name))
    return sorted(found)


def runs(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def counted(replica: BrokerProcess) -> int:
    """Requests to ``/token`` that were answered with a token, as a scrape says."""
    shown = (await replica.get("/metrics")).body.decode()
    found = re.search(
        r'^ims_token_broker_requests_total\{endpoint="/token",outcome="vended"\} (\S+)$', shown, re.MULTILINE
    )
    return 0 if found is None else int(float(found[1]))


async def until_counted(replica: BrokerProcess, number: int) -> None:
    """Wait until a scrape says `number`: a worker tells the others once a second."""

    async def says() -> bool:
        return await counted(replica) == number

    await until_answered(says, 20)


async def stopped(replica: BrokerProcess) -> int:
    """End it cleanly; the exit code."""
    replica.process.terminate()
    return await asyncio.to_thread(replica.process.ended)


async def test_all_workers_answer_and_are_measured_and_audited_as_one(own_fleet: Fleet) -> None:
    """Two workers share the connections; each scrape has the sum, and the one audit log verifies with two chains."""
    [replica] = own_fleet.start(WORKERS="2", AUDIT_CHAIN="true")
    tenant = own_fleet.tenant()
    assert len(workers_of(replica)) == 2
    replies = [await replica.token(tenant.org) for _ in range(60)]
    assert {reply.status for reply in replies} == {200}
    assert len({reply.json["access_token"] for reply in replies}) == 1
    assert len(own_fleet.exchanges(tenant)) == 1
    await until_counted(replica, 60)
    assert [await counted(replica) for _ in range(10)] == [60] * 10
    assert await stopped(replica) == 0
    verified = await run_cli("audit", "verify", str(replica.audit))
    assert verified.code == 0, verified
    assert [line.endswith(", ended") for line in verified.stdout.splitlines()] == [True, True]
    answered = [line["chain"] for line in replica.audit_lines() if line.get("outcome") == "vended"]
    assert len(answered) == 60
    assert len(set(answered)) == 2


async def test_a_worker_that_is_killed_is_replaced(own_fleet: Fleet) -> None:
    """After kill -9 of a worker another takes its place; what it counted stays counted, and its audit lines verify."""
    [replica] = own_fleet.start(WORKERS="2", AUDIT_CHAIN="true")
    tenant = own_fleet.tenant()
    for _ in range(40):
        assert (await replica.token(tenant.org)).status == 200
    await until_counted(replica, 40)
    before = workers_of(replica)
    for number, victim in enumerate(before, 1):
        os.kill(victim, signal.SIGKILL)
        await asyncio.to_thread(restarted, replica, number)
        await until_answered(lambda: all_answer(replica), 20)
    assert set(workers_of(replica)).isdisjoint(before)
    assert [await counted(replica) for _ in range(5)] == [40] * 5
    assert b"\nims_token_broker_worker_restarts_total 2.0\n" in (await replica.get("/metrics")).body
    for _ in range(20):
        assert (await replica.token(tenant.org)).status == 200
    await until_counted(replica, 60)
    assert await stopped(replica) == 0
    verified = await run_cli("audit", "verify", str(replica.audit))
    assert verified.code == 0, verified
    assert len(verified.stdout.splitlines()) >= 4


def restarted(replica: BrokerProcess, times: int) -> None:
    """Wait until a worker was started again so often, and all run."""
    wait_until(lambda: replica.process.stderr.read_text().count(RESTARTED) == times, "the end is not noticed")
    wait_until(lambda: len(workers_of(replica)) == 2, "it is not started again")


async def all_answer(replica: BrokerProcess) -> bool:
    """Whether many connections in a row are answered: one that a killed worker had not accepted yet is reset."""
    try:
        return {(await replica.get("/readyz")).status for _ in range(10)} == {200}
    except OSError:
        return False


async def test_no_request_is_lost_at_the_end(own_fleet: Fleet) -> None:
    """At SIGTERM each worker answers what it has; clients with open connections move to the other replica."""
    serving = own_fleet.start(2, WORKERS="2")
    tenant = own_fleet.tenant()
    for replica in serving:
        assert (await replica.token(tenant.org)).status == 200
    clients = [KeepAliveClient(lambda: [replica.port for replica in serving]) for _ in range(8)]
    request = serving[0].token_request(tenant.org)
    asking = [asyncio.create_task(client.ask(request)) for client in clients]
    await until(lambda: sum(client.answered for client in clients) > 100)
    old = serving.pop()
    workers = workers_of(old)
    assert await stopped(old) == 0
    assert not any(map(runs, workers))
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    assert [failure for client in clients for failure in client.failures] == []
    assert sum(client.last_answers for client in clients) >= 1
    assert "Traceback" not in old.process.stderr.read_text()


async def test_limits_are_those_of_the_replica(own_fleet: Fleet) -> None:
    """With a limit of 10 in an hour two workers together allow no more, and each allows its half."""
    tenant = own_fleet.tenant()
    # Before the start: a worker answers 401 until it has read a new policy, and too many of them are answered 429.
    key = own_fleet.policy.caller("limited", {"orgs": [tenant.org]}, rate_limit="10/h")
    [replica] = own_fleet.start(WORKERS="2")
    statuses: list[int] = []

    async def is_used_up() -> bool:
        """Whether the last 40 requests were refused."""
        statuses.append((await replica.token(tenant.org, key=key)).status)
        return statuses[-40:] == [429] * 40

    await until_answered(is_used_up, 30, 0.0)
    assert set(statuses) <= {200, 429}
    assert 5 <= statuses.count(200) <= 10


async def test_a_fleet_wide_limit_follows_the_load_to_one_worker(own_fleet: Fleet) -> None:
    """One connection, so one worker, gets more than half of a fleet-wide limit; each worker counts as a replica."""
    [replica] = own_fleet.start(WORKERS="2")
    tenant = own_fleet.tenant()
    limit = {"limit": "20/h", "scope": "fleet"}
    key = own_fleet.policy.caller("limited", {"orgs": [tenant.org]}, rate_limit=limit)
    asked = f"GET /token?org={tenant.org} HTTP/1.1\r\nHost: broker\r\nAuthorization: Bearer {key}\r\n\r\n"
    statuses: list[int] = []
    async with connected(replica.port) as connection:

        async def has_more_than_half() -> bool:
            statuses.append((await connection.request(asked.encode())).status)
            return statuses.count(200) > 10

        await until_answered(has_more_than_half, 30)
    assert set(statuses) <= {200, 401, 429}

    async def are_counted() -> bool:
        return "\nims_token_broker_fleet_replicas 2.0\n" in (await replica.get("/metrics")).body.decode()

    await until_answered(are_counted, 20)


async def test_workers_end_with_their_parent(own_fleet: Fleet) -> None:
    """After kill -9 of the parent no worker goes on alone, and the port is free."""
    [replica] = own_fleet.start(WORKERS="2")
    workers = workers_of(replica)
    replica.process.kill()
    wait_until(lambda: not any(map(runs, workers)), "a worker goes on")
    assert not listens(replica.port)


async def test_a_start_that_fails_is_reported_once(own_fleet: Fleet, tmp_path: Path) -> None:
    """A bad policy, or a port that is taken, ends the start with one sentence and the status of one process."""
    [taken] = own_fleet.start()
    bad = tmp_path / "bad.yaml"
    bad.write_text("version: 2\n")
    for number, settings in enumerate(({"POLICY_FILE": str(bad)}, {"PORT": str(taken.port)})):
        ends = []
        for workers in ("1", "3"):
            name = f"failing-{number}-{workers}"
            variables = {**own_fleet.settings, **settings, "WORKERS": workers}
            replica = BrokerProcess(name, own_fleet.folder, variables, own_fleet.key)
            replica.process.launch()
            ends.append((await asyncio.to_thread(replica.process.ended), replica.process.stderr.read_text()))
        assert ends[0] == ends[1]
        assert ends[0][0] != 0
