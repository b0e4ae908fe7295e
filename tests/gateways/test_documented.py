"""What `docs/gateways.md` shows is whole: each file is used, and each program takes it as it stands in the document."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.fenced import documented_files, write_files
from tests.support.gateways import DOCUMENT, envoy_command
from tests.support.repository import ROOT

FILES = documented_files(DOCUMENT)
ENVOYS = sorted(name for name in FILES if name.startswith("envoy-"))


@pytest.mark.parametrize("name", ENVOYS)
def test_envoy_takes_the_documented_file_as_it_is(tmp_path: Path, name: str) -> None:
    """``envoy --mode validate`` accepts each configuration with nothing but the key's folder replaced."""
    key = tmp_path / "gateway-key.yaml"
    write_files({file: FILES[file] for file in (name, key.name)}, tmp_path, {"/etc/envoy/gateway-key.yaml": str(key)})
    checked = subprocess.run(
        [*envoy_command(), "--mode", "validate", "--config-path", str(tmp_path / name)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr[-2000:]
    assert "OK" in checked.stdout


def test_every_fenced_configuration_is_a_file_that_is_tested() -> None:
    """No nginx or YAML block of the document stands there untested, but the ones that say so."""
    text = (ROOT / "docs" / DOCUMENT).read_text()
    blocks = re.findall(r"(.*)\n```(?:nginx|yaml)\n", text)
    untested = [line for line in blocks if not line.startswith("<!-- file: ")]
    assert all("not tested" in line for line in untested), untested


def test_the_readme_shows_the_documents_own_lines() -> None:
    """Each line of the README's nginx snippet is a line of the tested configuration."""
    section = (ROOT / "README.md").read_text().partition("**nginx and Envoy**")[2]
    snippet = section.partition("```nginx\n")[2].partition("```")[0]
    lines = [line.strip() for line in snippet.splitlines()]
    tested = {line.strip() for name, text in FILES.items() if name.endswith(".conf") for line in text.splitlines()}
    assert len(lines) > 3
    assert [line for line in lines if line not in tested] == []
    assert "docs/gateways.md" in section.partition("```")[0]
