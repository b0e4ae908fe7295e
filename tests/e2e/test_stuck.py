"""The end of a broker that hangs in places that no deadline reaches: a file that is never there, a name never found."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.support.fleet import Fleet
from tests.support.hanging_volume import in_a_process
from tests.support.issuer import AUDIENCE

IDLE_END_SECONDS = 10.0
"""More than a process with nothing to do needs for its end, on a loaded machine."""


async def test_a_thread_that_hangs_does_not_hold_up_the_end(own_fleet: Fleet, tmp_path: Path) -> None:
    """While a thread reads a file that never answers, callers are served, and SIGTERM ends the process with 0."""
    hanging = tmp_path / "volume" / "ca.crt"
    own_fleet.env |= in_a_process(hanging.parent, tmp_path / "site")
    url = "https://127.0.0.1:1/keys"
    own_fleet.policy.trust(
        {"issuer": "https://hangs.invalid", "audience": AUDIENCE, "jwks_url": url, "jwks_ca_file": str(hanging)}
    )
    [replica], tenant = own_fleet.start(1), own_fleet.tenant()
    assert (await replica.token(tenant.org)).status == 200
    replica.process.said(f"opening {hanging}")
    replica.process.terminate()
    assert await asyncio.to_thread(replica.process.ended, IDLE_END_SECONDS) == 0
    assert "Traceback" not in replica.process.stderr.read_text()
    assert [line["outcome"] for line in replica.audit_lines() if line["event"] == "request"] == ["vended"]


@pytest.mark.parametrize("place", ["REDIS_PASSWORD_FILE", "VAULT_SECRET_ID_FILE"])
async def test_a_named_pipe_is_not_a_secret_file(own_fleet: Fleet, tmp_path: Path, place: str) -> None:
    """A pipe where a password or secret id should be is refused, not waited for."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    if place == "REDIS_PASSWORD_FILE":
        own_fleet.settings["REDIS_URL"] = f"redis://127.0.0.1:{own_fleet.redis.server.port}"
        with pytest.raises(AssertionError, match="BROKER_REDIS_PASSWORD_FILE: is a named pipe, not a regular file"):
            own_fleet.start(1, REDIS_PASSWORD_FILE=str(pipe))
        return
    del own_fleet.settings["VAULT_TOKEN"]
    [replica] = own_fleet.start(1, VAULT_AUTH="approle", VAULT_ROLE_ID="x", VAULT_SECRET_ID_FILE=str(pipe))
    reply = await replica.token(own_fleet.tenant().org)
    assert (reply.status, b"BROKER_VAULT_SECRET_ID_FILE is a named pipe" in reply.body) == (503, True)
