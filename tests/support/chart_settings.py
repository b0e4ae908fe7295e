"""Writes the chart's template of plain settings: ``python -m tests.support.chart_settings``.

A setting is plain if one value of ``values.yaml`` becomes one variable. The comment of such a value begins with the
variable: ``# -- `BROKER_PORT`: text``. All other settings are in ``_settings.tpl``, which is written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.support.chart import CHART
from tests.support.chart_readme import DescribedValue, described_values

TEMPLATE = CHART / "templates" / "_plain_settings.tpl"
HAND_WRITTEN = {
    "BROKER_VAULT_ROLE_ID": "for the auth method approle only",
    "BROKER_VAULT_ROLE": "for the auth methods kubernetes and jwt only",
}
"""Settings whose value becomes the variable only sometimes, and when."""

_CONDITIONS = {"vault": 'include "broker.usesVault" .', "redis": 'include "broker.usesRedis" .'}
"""When the values of a group are used."""

_PLAIN = re.compile(r"`(?P<variable>BROKER_[A-Z_]+)`: ")


def plain_settings() -> dict[str, DescribedValue]:
    """The plain settings in the order of ``values.yaml``, by variable."""
    rows = described_values((CHART / "values.yaml").read_text())
    found = {match["variable"]: row for row in rows if (match := _PLAIN.match(row.text))}
    return {variable: row for variable, row in found.items() if variable not in HAND_WRITTEN}


def template() -> str:
    """The template."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "{{/* Made from values.yaml by `python -m tests.support.chart_settings`; do not edit it here. */}}"
    yield '{{- define "broker.plainSettings" -}}'
    group = ""
    for variable, row in plain_settings().items():
        now = row.path.partition(".")[0]
        if now != group:
            if group in _CONDITIONS:
                yield "{{- end }}"
            if now in _CONDITIONS:
                yield f"{{{{- if {_CONDITIONS[now]} }}}}"
            group = now
        yield from _lines_of(variable, row)
    if group in _CONDITIONS:
        yield "{{- end }}"
    yield "{{- end -}}"


def _lines_of(variable: str, row: DescribedValue) -> Iterator[str]:
    value = f".Values.{row.path}"
    if row.default == "":
        yield f"{{{{- with {value} }}}}"
        yield f"{variable}: {{{{ . | quote }}}}"
        yield "{{- end }}"
    elif isinstance(row.default, list):
        yield f'{variable}: {{{{ join "," {value} | quote }}}}'
    elif isinstance(row.default, int) and not isinstance(row.default, bool):
        yield f"{variable}: {{{{ {value} | int | quote }}}}"
    else:
        yield f"{variable}: {{{{ {value} | quote }}}}"


if __name__ == "__main__":
    TEMPLATE.write_text(template())
    print(f"Wrote {TEMPLATE.name}")
