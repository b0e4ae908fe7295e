"""A rule that several modules follow is written down once, and the others import it."""

from __future__ import annotations

import re

import pytest

from tests.support.repository import ROOT

BROKER = [path for path in sorted((ROOT / "app").rglob("*.py")) if "sandbox" not in path.parts]
"""The modules of the broker. The sandbox shares no code with it, so it has its own copies."""

RULES = {
    "app/hosts.py": [r"\.is_loopback\b", r"https://ims-na1\.adobelogin\.com"],
    "app/domain/names.py": [r"\[A-Za-z0-9\]\{24\}@AdobeOrg", r"\[A-Za-z0-9_-\]\{0,63\}"],
    "app/domain/access_token.py": [r"\b43_?200\b"],
    "app/settings/redis_address.py": [r"rediss\+cluster", r"a cluster has no database numbers"],
    "app/settings/forms.py": [r"\{0,31\}"],
    "app/settings/rules.py": [
        r"names a user or password already",
        r"rediss:// only;",
        r"\(\"token\", \"token_file\"\)",
    ],
    "app/api/health.py": [r'"/readyz"', r'"/metrics"'],
    "app/api/parameters.py": [r"\{\"token_sha256\": \"<64 hex digits>\"\}"],
}
"""By module: patterns that occur in it, and in no other module of the broker."""

ALSO_IN = {r'"/readyz"': {"app/cli/health.py"}}
"""`health` starts every few seconds and does not load the API."""


@pytest.mark.parametrize(("home", "pattern"), [(home, pattern) for home, rules in RULES.items() for pattern in rules])
def test_a_rule_is_written_down_once(home: str, pattern: str) -> None:
    """A pattern, a limit or a sentence that states a rule occurs in one module of the broker."""
    found = {path.relative_to(ROOT).as_posix() for path in BROKER if re.search(pattern, path.read_text())}

    assert found - ALSO_IN.get(pattern, set()) == {home}
