"""The options of commands that speak to a running broker: where it is, and who asks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_URLS = [DEFAULT_URL]

UrlOption = Annotated[str, typer.Option("--url", envvar="ITB_URL", metavar="URL", help="The broker's URL.")]
UrlsOption = Annotated[
    list[str], typer.Option("--url", envvar="ITB_URL", metavar="URL", help="A broker's URL. Repeatable.")
]
EverywhereOption = Annotated[bool, typer.Option("--everywhere", help="All regions: the URLs in ITB_URLS.")]
ApiKeyOption = Annotated[
    Path | None, typer.Option("--api-key-file", metavar="FILE", help="Your API key. Default: $ITB_API_KEY.")
]
CaOption = Annotated[
    Path | None, typer.Option("--ca-file", metavar="FILE", help="CA bundle for https. Default: the system's.")
]
