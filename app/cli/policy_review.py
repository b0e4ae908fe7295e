"""``policy review``: which API keys and rules of a policy are not used, or end soon."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.audit_input import audit_lines_of
from app.cli.failure import FAILED, USAGE, CommandError
from app.cli.policy_input import JsonOption, PolicyOption, read_policy_option

if TYPE_CHECKING:
    from app.audit.usage import LogPeriod
    from app.domain.policy_usage import Used, Verdict

_DAY = 86400.0
_KINDS = {"api_key": "API key", "rule": "rule", "audit_rule": "rule with mode audit"}


def review(
    files: Annotated[
        list[str],
        typer.Argument(metavar="AUDITLOG…", help="Audit logs (gzip too); - is standard input.", show_default=False),
    ],
    policy: PolicyOption = None,
    unused_days: Annotated[
        int, typer.Option(metavar="DAYS", min=1, max=3650, help="Report what has not been used for this many days.")
    ] = 90,
    ending_days: Annotated[
        int, typer.Option(metavar="DAYS", min=0, max=3650, help="Report what expires within this many days.")
    ] = 14,
    as_json: JsonOption = False,
) -> None:
    """Print when each API key and rule was last used, and report what is unused, expires soon, or has expired.

    Give the logs of all replicas. A key or rule is reported as unused only if the logs cover that many days without a
    use. A rule counts as used if it allows a request that was granted; a rule with mode audit if it would have allowed
    the request. Exit status 0: nothing to report; 1: something; 2: the command or a file is bad.
    """
    from app.audit.usage import note_usage
    from app.domain.policy_usage import PolicyUsage, counted, verdict

    usage, now = PolicyUsage(read_policy_option(policy)), time.time()
    with audit_lines_of(files) as lines:
        period = note_usage(lines, usage)
    if period.since is None or period.until is None:
        raise CommandError("No audit line was found: are these audit logs of the broker?", USAGE)
    limits = {"unused_seconds": unused_days * _DAY, "ending_seconds": ending_days * _DAY}
    found = [(used, verdict(used, period.since, period.until, now, **limits)) for used in usage.all()]
    counts = counted(one for _, one in found)
    if as_json:
        items = [_as_json(used, one) for used, one in found]
        log = {"lines": period.lines, "since": period.since, "until": period.until}
        typer.echo(json.dumps({"log": log, "items": items, **counts}))
    else:
        _print(found, period)
        _say_how_old(period.until, now)
        typer.echo(
            f"{counts['unused']} not used for {unused_days} days, {counts['ending']} ending within {ending_days} days, "
            f"{counts['ended']} ended."
        )
    if any(counts.values()):
        raise typer.Exit(FAILED)


def _say_how_old(until: str, now: float) -> None:
    from app.domain.rfc3339 import parse_rfc3339

    days = int((now - parse_rfc3339(until)) // _DAY)
    if days > 0:
        typer.echo(f"These logs end {days} day{'' if days == 1 else 's'} ago: later use is not in them.", err=True)


def _as_json(used: Used, one: Verdict) -> dict[str, object]:
    from app.domain.rfc3339 import rfc3339

    end = None if used.not_after is None else rfc3339(used.not_after)
    item = {"caller": used.caller, "kind": used.kind, "name": used.name}
    return {**item, "last_use": used.last_use, "not_after": end, "verdict": one}


def _print(found: list[tuple[Used, Verdict]], period: LogPeriod) -> None:
    from app.domain.rfc3339 import rfc3339

    typer.echo(f"{period.lines} audit lines from {period.since} to {period.until}.")
    for used, one in found:
        last = f"last used {used.last_use}" if used.last_use else "not used in these logs"
        if one == "unknown":
            last = "use unknown: these logs do not name the API key"
        name = f"{_KINDS[used.kind]} {used.name}"
        end = "" if used.not_after is None else f"; ends {rfc3339(used.not_after)}"
        mark = f"  [{one}]" if one in {"unused", "ending", "ended"} else ""
        typer.echo(f"{used.caller}  {name}  {last}{end}{mark}")
