"""``sandbox fault``: make a running sandbox fail, see which faults it has, remove them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from app.cli.failure import USAGE, CommandError
from app.cli.sandbox_control import DEFAULT_SANDBOX_URL, SandboxControl, SandboxUrlOption
from app.domain.amount import amount

KINDS_HELP = (
    "What goes wrong: latency, drip, hang, status, lost, garbage, html or empty;"
    " for exchanges also wrong_unit, negative_expires_in, zero_expires_in, absent_expires_in, absurd_expires_in,"
    " expired_token, other_client or other_org."
)


def fault(
    kind: Annotated[str | None, typer.Argument(metavar="KIND", help=KINDS_HELP, show_default=False)] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List all faults, and how many requests each has affected.")
    ] = False,
    cleared: Annotated[bool, typer.Option("--clear", help="Remove all faults.")] = False,
    status: Annotated[int | None, typer.Option(metavar="N", min=200, max=599, help="HTTP status (503).")] = None,
    retry_after: Annotated[
        str | None, typer.Option(metavar="S", help="Retry-After header of the answer, word for word.")
    ] = None,
    error: Annotated[str | None, typer.Option(metavar="CODE", help="Error code in the body.")] = None,
    seconds: Annotated[float | None, typer.Option(metavar="S", min=0, help="Delay of the answer, in seconds.")] = None,
    times: Annotated[int | None, typer.Option(metavar="N", min=1, help="Affect only this many requests.")] = None,
    share: Annotated[
        float | None,
        typer.Option(metavar="PART", min=0.001, max=1, help="Affect a share of the requests: 0.25 is every fourth."),
    ] = None,
    lasts: Annotated[
        float | None, typer.Option("--for", metavar="S", min=0.001, help="End after this many seconds.")
    ] = None,
    path: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Only at paths with this prefix, such as /imp. Default: exchanges."),
    ] = None,
    client_id: Annotated[str | None, typer.Option("--client-id", metavar="ID", help="Only for this client.")] = None,
    org: Annotated[str | None, typer.Option(metavar="ORG", help="Only for this IMS org.")] = None,
    url: SandboxUrlOption = DEFAULT_SANDBOX_URL,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as one line of JSON.")] = False,
) -> None:
    """Add, list or remove faults of a running sandbox.

    Give KIND, and where, when and how often it applies; or --list; or --clear. If several faults match a request, the
    oldest one applies. Times are in seconds.
    """
    fields = {"status": status, "retry_after": retry_after, "error": error, "seconds": seconds, "count": times}
    places = {"share": share, "lasts": lasts, "path": path, "client_id": client_id, "org": org}
    order = {name: value for name, value in {**fields, **places}.items() if value is not None}
    if [kind is not None, listed, cleared].count(True) != 1 or (kind is None and order):
        raise CommandError("Give either a KIND with its options, or --list, or --clear.", USAGE)
    control = SandboxControl(url)
    if kind is not None:
        added = control.add_fault({"kind": kind, **order})
        typer.echo(json.dumps(added) if as_json else fault_sentence(added))
        return
    faults = control.faults()
    if cleared:
        control.remove_all_faults()
        count = len(faults)
        typer.echo(json.dumps({"removed": count}) if as_json else f"{count} fault{'' if count == 1 else 's'} removed.")
    elif as_json:
        typer.echo(json.dumps({"faults": faults}))
    else:
        _print_all(faults)


def _print_all(faults: list[dict[str, Any]]) -> None:
    for one in faults:
        state = "active" if one.get("active") else "ended"
        typer.echo(f"{fault_sentence(one)}; {state}, {amount(int(one.get('hits', 0)), 'request')} affected")
    if not faults:
        typer.echo("No faults.")


def fault_sentence(fault: Mapping[str, Any]) -> str:
    """A fault in words, such as ``fault 3: status 503, at /imp, the next 5 requests, for 60 s``."""
    kind = str(fault.get("kind"))
    words = [f"{kind} {fault.get('status')}" if kind in {"status", "lost"} else kind]
    if fault.get("seconds"):
        words.append(f"{fault['seconds']:g} s {'per byte' if kind == 'drip' else 'late'}")
    named = {"retry_after": "Retry-After", "error": "error", "path": "at", "client_id": "client", "org": "org"}
    words += [f"{word} {fault[name]}" for name, word in named.items() if fault.get(name) is not None]
    if fault.get("path") is None:
        words.append("at exchanges")
    if fault.get("share", 1) < 1:
        words.append(f"{fault['share'] * 100:g} % of the requests")
    if fault.get("count") is not None:
        words.append(f"the next {fault['count']}")
    if fault.get("lasts") is not None:
        words.append(f"for {fault['lasts']:g} s")
    return f"fault {fault.get('id')}: {', '.join(words)}"
