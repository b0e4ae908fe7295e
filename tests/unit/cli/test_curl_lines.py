"""The command lines that ``dev`` prints."""

from __future__ import annotations

import shlex

from app.cli.curl_lines import curl_lines


def test_every_value_is_one_word_of_the_shell() -> None:
    """Any URL, key or caller that is inserted remains one word of the shell."""
    odd = "a'b c$(d)`e`"
    for _, line in curl_lines(odd, odd, odd, odd, odd, odd).values():
        words = shlex.split(line)
        assert "\n" not in line
        assert all(odd in word for word in words if "$(d)" in word or "`e`" in word)
        assert any(odd in word for word in words)
