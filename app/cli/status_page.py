"""The page of ``status --html``: one file without scripts, fonts or links, to be opened or mailed."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from app.cli.status_rows import StatusRow
from app.cli.status_table import summary
from app.domain.rfc3339 import rfc3339

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>ims-token-broker: status</title>
<style>
:root { color-scheme: light dark; }
body { font: 14px/1.5 system-ui, sans-serif; margin: 2rem; }
table { border-collapse: collapse; }
th, td { text-align: left; padding: .25rem .75rem; border-bottom: 1px solid #8884; white-space: nowrap; }
td.id { font-family: ui-monospace, monospace; }
.bar { width: 8rem; height: .6rem; background: #8883; border-radius: .3rem; overflow: hidden; }
.bar span { display: block; height: 100%; background: #2a8a3e; }
.aging .bar span { background: #b58900; }
.attention td:first-child { box-shadow: inset 4px 0 #c0392b; }
.error { color: #c0392b; }
</style></head><body>
"""
_HEADINGS = ("Org", "Credential", "Kind", "Generation", "Token", "Life left", "", "Certificate", "Last error")


def status_page(rows: Sequence[StatusRow], now: float) -> str:
    """The page.

    Args:
        rows: What it shows.
        now: Unix time in seconds.

    """
    headings = "".join(f"<th>{escape(heading)}</th>" for heading in _HEADINGS)
    body = "\n".join(map(_row, rows))
    return (
        f"{_HEAD}<h1>Status</h1>\n<p>{escape(summary(rows))}, at {rfc3339(now)}</p>\n"
        f"<table><thead><tr>{headings}</tr></thead>\n<tbody>\n{body}\n</tbody></table></body></html>\n"
    )


def _row(row: StatusRow) -> str:
    classes = " ".join(name for name, holds in ((row.token_state, True), ("attention", row.needs_attention)) if holds)
    percent = 0 if row.share is None else round(row.share * 100)
    bar = "" if row.share is None else f'<div class="bar"><span style="width:{percent}%"></span></div>'
    cells = (
        f'<td class="id">{escape(row.org)}</td>',
        *(f"<td>{escape(text)}</td>" for text in (row.credential, row.kind, row.generation, row.token_state)),
        f"<td>{bar}</td>",
        *(f"<td>{escape(text)}</td>" for text in (row.remaining_text, row.certificate_text)),
        f'<td class="error">{escape(row.last_error)}</td>',
    )
    return f'<tr class="{escape(classes)}">{"".join(cells)}</tr>'
