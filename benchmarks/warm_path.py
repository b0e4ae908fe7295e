"""Warm requests with all features on, against a raw ASGI app on the same uvicorn, and nginx with a file of that size.

    python -m benchmarks warm_path [--seconds 2] [--rounds 5] [--connections 32]

The broker runs as ``serve`` with API key, policy, rate limit, metrics and audit log, once with answers at the
connection and once through ASGI. All servers have one core; the load, and the sandbox, have another one.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlencode

from benchmarks.load import Asked, Effort, Turns, take_turns
from benchmarks.report import Row, at_least, at_most
from benchmarks.scene import Scene, org, scene
from benchmarks.servers import Served, free_port, running

RAW, NGINX = "raw ASGI app", "nginx, static file"
ASGI, TOKEN, HEADERS, FORM, JWT = (
    "GET /token through ASGI",
    "GET /token",
    "GET /headers",
    "POST /oauth2/token",
    "GET /token with a JWT",
)
GUARDED = ASGI, TOKEN
"""The figures that must not get much worse from commit to commit."""

RAW_APP = """async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": [
        (b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY)),
        (b"cache-control", b"no-store"), (b"pragma", b"no-cache"), (b"x-request-id", b"0123456789abcdef")]})
    await send({"type": "http.response.body", "body": BODY})
"""

FORM_SCRIPT = """wrk.method = "POST"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
wrk.body = "{body}"
"""

NGINX_CONFIGURATION = """worker_processes 1;
daemon off;
error_log stderr crit;
pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  open_file_cache max=10;
  server {{ listen 127.0.0.1:{port}; root {folder}/www; }}
}}
"""


@contextmanager
def raw_app(folder: Path, size: int) -> Iterator[Served]:
    """A raw ASGI app on uvicorn, whose body has so many bytes."""
    port, script = free_port(), folder / "raw_app.py"
    script.write_text(
        f"{RAW_APP}\nBODY = b'x' * {size}\nimport uvicorn\n"
        f"uvicorn.run(app, port={port}, http='httptools', loop='uvloop', access_log=False, log_level='error',"
        " lifespan='off', server_header=False)\n"
    )
    with running([sys.executable, str(script)], port) as served:
        yield served


@contextmanager
def nginx(folder: Path, size: int) -> Iterator[Asked]:
    """A single worker of nginx with a file of so many bytes."""
    port, www = free_port(), folder / "www"
    www.mkdir()
    (www / "token").write_bytes(b"x" * size)
    folder.chmod(0o755)  # the worker runs as another user
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX_CONFIGURATION.format(folder=folder, port=port))
    with running(["nginx", "-c", str(configuration), "-p", str(folder)], port) as served:
        yield Asked(served.url("/token"), [served.pid, *served.children()])


def servers(stage: Scene, stack: ExitStack, *, is_short: bool = False) -> Mapping[str, Asked]:
    """All servers, with what they are asked, by name; only those of the guard, if it is to be short."""
    through_asgi = stage.start_broker({"BROKER_FAST_PATH": "off"})
    broker = stage.start_broker()
    path = f"/token?org={org(0)}"
    size = len(stage.get(broker, path))
    raw = stack.enter_context(raw_app(stage.folder, size))
    asked = {
        RAW: Asked(raw.url("/"), [raw.pid], [stage.bearer]),
        ASGI: Asked(through_asgi.url(path), [through_asgi.pid], [stage.bearer]),
        TOKEN: Asked(broker.url(path), [broker.pid], [stage.bearer]),
    }
    if is_short:
        return asked
    basic = base64.b64encode(f"bench:{stage.key}".encode()).decode()
    script = stage.folder / "form.lua"
    script.write_text(FORM_SCRIPT.format(body=urlencode({"grant_type": "client_credentials", "org": org(0)})))
    return {
        **asked,
        HEADERS: Asked(broker.url(f"/headers?org={org(0)}"), [broker.pid], [stage.bearer]),
        FORM: Asked(broker.url("/oauth2/token"), [broker.pid], [f"Authorization: Basic {basic}"], script),
        JWT: Asked(broker.url(path), [broker.pid], [f"Authorization: Bearer {stage.jwt()}"]),
        NGINX: stack.enter_context(nginx(stage.folder, size)),
    }


def measure(effort: Effort) -> list[Row]:
    """All rows of warm requests."""
    with scene() as stage, ExitStack() as stack:
        turns = take_turns(servers(stage, stack), effort)
    return rows(turns)


def requests_of(name: str) -> str:
    """The name of the row that compares the requests of a figure."""
    return f"{name}, requests"


def rows(turns: Turns) -> list[Row]:
    """The rows, from runs of all servers."""
    kernel = (
        "Receiving and sending cost the same in the kernel as for the reference, and through ASGI the HTTP parser "
        "calls Python for each header; see docs/performance.md."
    )
    latency = "The 99th percentile by the clock: the load and other processes share the cores."
    targets = (
        (ASGI, RAW, "per_cpu_second", at_least(0.73), kernel),
        (ASGI, RAW, "p99", at_most(1.5), latency),
        (TOKEN, RAW, "per_cpu_second", at_least(1.8), kernel),
        (TOKEN, RAW, "p99", at_most(1.0), latency),
        (TOKEN, NGINX, "per_cpu_second", at_least(0.45), kernel),
        (HEADERS, TOKEN, "per_cpu_second", at_least(0.9), ""),
        (
            FORM,
            TOKEN,
            "per_cpu_second",
            at_least(0.5),
            "Only a form whose head its connection has seen last is answered there.",
        ),
        (JWT, TOKEN, "per_cpu_second", at_least(0.9), ""),
    )
    return [
        Row(
            f"{name}, p99" if attribute == "p99" else requests_of(name),
            reference,
            target,
            turns.ratio(name, reference, attribute),
            turns.seen(name, reference, attribute),
            if_missed,
        )
        for name, reference, attribute, target, if_missed in targets
    ]
