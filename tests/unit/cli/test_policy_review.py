"""``policy review``."""

from __future__ import annotations

import gzip
import hashlib
import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.adapters.audit_log.audit_lines import AuditLines
from app.cli.program import app
from app.domain.decision import VENDED, Decision
from app.domain.events import RequestDecided
from app.domain.rfc3339 import rfc3339
from tests.factories import ORG, OTHER_ORG

DAY = 86400.0
USED, UNUSED, ENDING, ENDED = (hashlib.sha256(name.encode()).hexdigest() for name in ("used", "no", "soon", "past"))


def policy_text(now: float) -> str:
    """A policy with keys and rules that are used, unused, ending and ended."""
    soon, past = rfc3339(now + 13 * DAY), rfc3339(now - DAY)
    return f"""\
version: 1
callers:
  - name: journey
    match:
      api_key_sha256:
        - "{USED}"
        - "{UNUSED}"
        - {{sha256: "{ENDING}", not_after: {soon}}}
        - {{sha256: "{ENDED}", not_after: {past}}}
    allow:
      - {{orgs: ["{ORG}"], scopes: [openid]}}
      - {{orgs: ["{ORG}"], scopes: [other]}}
      - {{orgs: ["{ORG}"], actions: [purge]}}
      - {{orgs: ["{OTHER_ORG}"], mode: audit}}
"""


def line(at: float, outcome: str = VENDED, **members: str) -> str:
    """A line of the real log."""
    decision = Decision("/token", "vend", outcome, "journey", **{"org": ORG, "credential": "default", **members})  # type: ignore[arg-type]
    return AuditLines().line(RequestDecided(at, "id", decision))


@pytest.fixture
def now() -> float:
    """Unix time in whole seconds."""
    return float(int(time.time()))


@pytest.fixture
def policy(tmp_path: Path, now: float) -> Path:
    """The policy as a file."""
    path = tmp_path / "policy.yaml"
    path.write_text(policy_text(now))
    return path


def review(policy: Path, *words: object, stdin: str | None = None) -> Result:
    """Run ``policy review``."""
    return CliRunner().invoke(app, ["policy", "review", "--policy", str(policy), *map(str, words)], input=stdin)


def written(path: Path, *lines: str) -> Path:
    """A log of these lines."""
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture
def log(tmp_path: Path, now: float) -> Path:
    """A log of half a year."""
    return written(
        tmp_path / "audit.log",
        line(now - 2 * DAY, api_key_sha256=USED, scope="openid"),
        line(now - 180 * DAY, api_key_sha256=UNUSED, scope="openid"),
        line(now - 100 * DAY, "forbidden", api_key_sha256=UNUSED, org=OTHER_ORG, audit_rule="callers[0].allow[3]"),
        line(now - DAY, "forbidden", api_key_sha256=UNUSED),
        "not a line of the audit log",
    )


def test_each_key_and_rule_has_its_last_use_and_verdict(policy: Path, log: Path, now: float) -> None:
    """Refused requests do not count as a use; a rule is used only by requests for one of its scopes and actions."""
    result = review(policy, log, "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 1
    seen = {item["name"]: (item["verdict"], item["last_use"]) for item in found["items"]}

    def at(days: float) -> str:
        return rfc3339(now - days * DAY).replace("Z", ".000Z")

    assert seen == {
        USED[:16]: ("in_use", at(2)),
        UNUSED[:16]: ("unused", at(180)),
        ENDING[:16]: ("ending", None),
        ENDED[:16]: ("ended", None),
        "callers[0].allow[0]": ("in_use", at(2)),
        "callers[0].allow[1]": ("unused", None),
        "callers[0].allow[2]": ("unused", None),
        "callers[0].allow[3]": ("unused", at(100)),
    }
    assert (found["unused"], found["ending"], found["ended"]) == (4, 1, 1)
    assert (found["log"]["lines"], found["log"]["since"], found["log"]["until"]) == (4, at(180), at(1))


def test_the_text_says_the_same(policy: Path, log: Path, now: float) -> None:
    """Each key and rule is one line, what needs attention is marked, and the last line counts."""
    first, *lines, last = review(policy, log).stdout.splitlines()
    assert first.startswith("4 audit lines from ")
    assert len(lines) == 8
    assert sum(line.endswith("  [unused]") for line in lines) == 4
    assert f"journey  API key {ENDING[:16]}  not used in these logs; ends {rfc3339(now + 13 * DAY)}  [ending]" in lines
    assert last == "4 not used for 90 days, 1 ending within 14 days, 1 ended."


def test_a_short_log_proves_nothing(policy: Path, tmp_path: Path, now: float) -> None:
    """What is not in a log of ten days is not called unused; with --unused-days 5 it is."""
    short = written(tmp_path / "short.log", *(line(now - days * DAY, api_key_sha256=USED) for days in (10, 0)))
    for days, verdict in ((90, "unseen"), (5, "unused")):
        items = json.loads(review(policy, short, "--json", "--unused-days", days).stdout)["items"]
        assert {item["verdict"] for item in items if item["name"] == UNUSED[:16]} == {verdict}


def test_lines_without_a_key_prove_nothing_about_keys(policy: Path, tmp_path: Path, now: float) -> None:
    """If a log does not name the key of a caller with several, none of them is called unused."""
    old = written(tmp_path / "old.log", line(now - 180 * DAY), line(now, "forbidden"))
    items = json.loads(review(policy, old, "--json").stdout)["items"]
    assert {item["verdict"] for item in items if item["name"] in {USED[:16], UNUSED[:16]}} == {"unknown"}
    policy.write_text(policy_text(now).replace(f'        - "{UNUSED}"\n', "").partition("        - {sha256")[0] + "\n")
    [item] = json.loads(review(policy, old, "--json").stdout)["items"]
    assert (item["verdict"], item["last_use"] is None) == ("unused", False)


def test_the_time_after_the_last_line_proves_nothing(policy: Path, tmp_path: Path, now: float) -> None:
    """Of logs that end long ago, only what was unused up to their end is called unused, and their end is said."""
    both = (now - 400 * DAY, USED), (now - 390 * DAY, USED), (now - 390 * DAY, UNUSED), (now - 300 * DAY, USED)
    old = written(tmp_path / "old.log", *(line(at, api_key_sha256=key) for at, key in both))
    for days, verdicts in ((95, ("unseen", "unseen")), (85, ("unseen", "unused"))):
        items = json.loads(review(policy, old, "--json", "--unused-days", days).stdout)["items"]
        found = {item["name"]: item["verdict"] for item in items}
        assert (found[USED[:16]], found[UNUSED[:16]]) == verdicts
    assert "These logs end 300 days ago: later use is not in them." in review(policy, old).stderr


def test_nothing_to_report_exits_with_0(policy: Path, tmp_path: Path, now: float) -> None:
    """If everything is in use and nothing ends, the exit code is 0; gzip and standard input are read."""
    policy.write_text(policy_text(now).partition("    allow:")[0].partition(f'        - "{UNUSED}"')[0])
    packed = tmp_path / "audit.log.gz"
    packed.write_bytes(gzip.compress(f"{line(now, api_key_sha256=USED)}\n".encode()))
    assert review(policy, packed).exit_code == 0
    assert review(policy, "-", stdin=f"{line(now, api_key_sha256=USED)}\n").exit_code == 0


def test_a_file_that_cannot_be_used_is_one_sentence(policy: Path, tmp_path: Path) -> None:
    """A missing log or policy, or a file without an audit line, is an error, not an unused policy."""
    other = written(tmp_path / "other.log", "hello")
    for result, sentence in (
        (review(policy, tmp_path / "none.log"), "none.log cannot be read"),
        (review(tmp_path / "none.yaml", other), "none.yaml: "),
        (review(policy, other), "No audit line was found"),
    ):
        assert result.exit_code == 2
        assert (result.stdout, sentence in result.stderr) == ("", True)
