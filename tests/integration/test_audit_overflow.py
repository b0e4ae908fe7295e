"""A named pipe that a process opened and does not read, as the audit log of the broker's listeners."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from app.adapters.audit_log import MAX_WAITING_AUDIT_LINES
from app.bootstrap.listeners import listeners
from app.domain.events import PolicyLoaded
from app.settings.settings import read_settings
from tests.support.waiting import until


@pytest.mark.parametrize(("overflow", "is_full"), [("drop", False), ("block", True)])
async def test_the_setting_says_what_a_full_audit_log_means(tmp_path: Path, overflow: str, is_full: bool) -> None:
    """With `drop`, requests go on and lost lines are counted; with `block`, no further request is accepted."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    settings = read_settings(
        {
            "BROKER_POLICY_FILE": str(tmp_path / "policy.yaml"),
            "BROKER_CREDENTIAL_STORE": "directory",
            "BROKER_CREDENTIAL_DIR": str(tmp_path),
            "BROKER_AUDIT_FILE": str(pipe),
            "BROKER_AUDIT_OVERFLOW": overflow,
        }
    )
    async with listeners(settings, time.time) as heard:
        assert not heard.audit_is_full()
        # More than the buffer, one batch and the pipe can hold.
        for number in range(MAX_WAITING_AUDIT_LINES + 20_000):
            heard.sink.emit(PolicyLoaded(time.time(), f"v{number}"))
        await until(lambda: b"audit_lines_lost_total 0.0" not in heard.metrics.render())
        assert heard.audit_is_full() is is_full
        os.close(reader)  # so that the writing thread can end
