"""`probe`: shows from outside whether a broker vends and refuses as it must."""

from __future__ import annotations

import json

from tests.support.children import free_port
from tests.support.fleet import Fleet
from tests.support.processes import run_cli


class TestProbe:
    """``probe``."""

    async def test_a_good_broker_passes(self, fleet: Fleet) -> None:
        """It vends to its caller and refuses a forged key; no token is printed, and the exit status is 0."""
        tenant, env = fleet.tenant(), {"ITB_URL": fleet.replicas[0].url, "ITB_API_KEY": fleet.key}
        finished = await run_cli("probe", "--org", tenant.org, env=env)
        assert finished.code == 0
        assert finished.stdout.splitlines() == ["ok      vends a token (200)", "ok      refuses a forged key (401)"]
        assert finished.stderr == ""

    async def test_an_open_door_is_named(self, fleet: Fleet) -> None:
        """An org that should be denied and is vended is a failed check with both statuses, and the exit status is 1."""
        tenant, env = fleet.tenant(), {"ITB_URL": fleet.replicas[0].url, "ITB_API_KEY": fleet.key}
        finished = await run_cli("probe", "--org", tenant.org, "--denied-org", tenant.org, "--json", env=env)
        answer = json.loads(finished.stdout)
        assert finished.code == 1
        assert answer["ok"] is False
        assert answer["checks"][2] == {
            "check": "refuses_denied", "expected": 403, "seen": 200, "error": None, "ok": False,
        }  # fmt: skip
        assert [check["ok"] for check in answer["checks"]] == [True, True, False]

    async def test_a_broker_that_does_not_answer_fails_each_check(self, fleet: Fleet) -> None:
        """Nothing is taken for a refusal: without an answer, no check passes."""
        env = {"ITB_URL": f"http://127.0.0.1:{free_port()}", "ITB_API_KEY": fleet.key}
        finished = await run_cli("probe", "--org", fleet.tenant().org, env=env)
        assert finished.code == 1
        assert finished.stdout == ""
        assert finished.stderr.count("FAILED") == 2
        assert "cannot be reached" in finished.stderr
