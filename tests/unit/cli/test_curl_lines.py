"""The command lines that ``dev`` prints."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from app.cli.curl_lines import curl_lines, purge_line, sandbox_lines


def test_every_value_is_one_word_of_the_shell() -> None:
    """Any URL, key or caller that is inserted remains one word of the shell."""
    odd = "a'b c$(d)`e`"
    curls = [line for _, line in curl_lines(odd, odd, odd, odd, odd, odd).values()]
    for line in [*curls, purge_line(odd, odd, odd)]:
        words = shlex.split(line)
        assert "\n" not in line
        assert all(odd in word for word in words if "$(d)" in word or "`e`" in word)
        assert any(odd in word for word in words)


@pytest.mark.parametrize(("found", "called", "shown"), [
    (True, ".venv/bin/ims-token-broker", "ims-token-broker"),
    (False, ".venv/bin/ims-token-broker", ".venv/bin/ims-token-broker"),
    (False, "/site-packages/app/cli/__main__.py", "ims-token-broker"),
])  # fmt: skip
def test_an_order_to_the_sandbox_can_be_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: bool, called: str, shown: str
) -> None:
    """The line begins with the name of the program, or with its path if the shell does not find the name."""
    if found:
        (tmp_path / "ims-token-broker").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.argv", [called])
    assert sandbox_lines("http://127.0.0.1:9000")["clear"].startswith(f"{shown} sandbox fault")
