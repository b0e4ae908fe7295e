"""The console script ``ims-token-broker``, also as ``python -m app.cli``."""

from __future__ import annotations

from typer.main import get_command

from app.cli.program import app

NAME = "ims-token-broker"


def main() -> None:
    """Run the command line; never returns."""
    get_command(app).main(prog_name=NAME)


if __name__ == "__main__":
    main()
