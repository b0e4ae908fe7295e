"""The commands of ``docs/rehearsal.md``, and the recordings that come with it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from app.cli.outage_recording import read_recording
from tests.support.children import free_port
from tests.support.processes import CLI, run_cli
from tests.support.repository import ROOT
from tests.support.tools import skip_or_fail

PAGE = ROOT / "docs" / "rehearsal.md"
RECORDINGS = sorted((ROOT / "docs" / "outages").glob("*.jsonl"))


async def test_the_page_works_from_top_to_bottom(tmp_path: Path) -> None:
    """All commands of the page run in one shell, and the service fails and succeeds as the page says."""
    if shutil.which("curl") is None:
        skip_or_fail("curl is missing; install it (Debian: apt-get install curl)")
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    program = tmp_path / "bin" / "ims-token-broker"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.join(CLI)} "$@"\n')
    program.chmod(0o755)
    script = "".join(blocks).replace("9000", str(free_port()))
    path = f'PATH={shlex.quote(str(program.parent))}:"$PATH"; cd {shlex.quote(str(tmp_path))}\n'

    ran = await run_cli("-ec", path + script, program=("sh",), within=90)

    assert ran.code == 0, ran
    assert ran.stdout.count('"status":"ok"') == 2
    assert ran.stdout.count("The service failed.") == 1
    assert "A call failed." not in ran.stdout
    assert ran.stdout.count("status 401, at /imp, the next 1") == 1
    assert re.search(
        r"latency, 2 s late, .*; active, 0 requests affected\n3 faults removed\.$", ran.stdout, re.MULTILINE
    )
    assert [line.split()[1:3] for line in ran.stdout.splitlines() if line.startswith("20")] == [
        ["/ims/token", "issued"], ["/imp", "ok"],
        ["/ims/token", "fault:"], ["/ims/token", "fault:"], ["/ims/token", "issued"], ["/imp", "ok"],
        ["/ims/token", "issued"], ["/imp", "fault:"],
    ]  # fmt: skip
    played = json.loads((tmp_path / "played.json").read_text())
    assert [fault["kind"] for fault in played["faults"]] == ["latency", "status", "status"]
    assert played["faults"][1]["hits"] > 0


@pytest.mark.parametrize("file", RECORDINGS, ids=lambda file: file.name)
def test_each_recording_that_is_shipped_can_be_played(file: Path) -> None:
    """Each recording has a title, is linked from the page with its source, and its faults follow without a gap."""
    recording = read_recording(file.read_text())
    source = json.loads(file.read_text().partition("\n")[0])["source"]

    assert recording.title
    assert f"(outages/{file.name})" in PAGE.read_text()
    assert f"({source})" in PAGE.read_text()
    begins = {fault.at for fault in recording.faults}
    ends = {fault.at + fault.lasts for fault in recording.faults}
    assert begins - ends == {0}
    assert ends - begins == {recording.seconds}


def test_recordings_are_shipped() -> None:
    """There are three recordings."""
    assert len(RECORDINGS) == 3
