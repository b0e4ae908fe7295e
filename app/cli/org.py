"""``org``: the IMS organisations whose credentials the broker has."""

from __future__ import annotations

import typer

from app.cli.org_check import check_orgs
from app.cli.org_import import import_org
from app.cli.org_list import list_orgs
from app.cli.org_migrate import migrate_org
from app.cli.org_remove import remove_org

app = typer.Typer(name="org", help="IMS organisations and their credentials.", rich_markup_mode=None)
app.command("import")(import_org)
app.command("list")(list_orgs)
app.command("check")(check_orgs)
app.command("migrate")(migrate_org)
app.command("remove")(remove_org)
