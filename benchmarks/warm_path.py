"""Compare warm ``GET /token`` and ``GET /headers`` with a raw ASGI app: same body size, same server, same run.

    python -m benchmarks.warm_path [--seconds 5] [--rounds 5] [--connections 32]

The broker runs as ``serve`` with all features on: API key, policy, rate limit, metrics, audit log to a file. Both
servers are pinned to one core and the load (``wrk``) to another; they alternate, and medians are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.domain.api_key import api_key_sha256, new_api_key
from benchmarks.servers import free_port, wait_for

NAMES = ("raw ASGI", "GET /token", "GET /headers")
ORG = "0123456789ABCDEF01234567@AdobeOrg"
RAW_APP = """async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": [
        (b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY)),
        (b"cache-control", b"no-store"), (b"pragma", b"no-cache"), (b"x-request-id", b"0123456789abcdef")]})
    await send({"type": "http.response.body", "body": BODY})
"""


@dataclass(frozen=True)
class Sample:
    """One run of the load: requests per second, and the 99th percentile in milliseconds."""

    rate: float
    p99: float


def _pin(core: int) -> None:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[core % len(cores)]})


@contextmanager
def _server(command: list[str], port: int, environment: dict[str, str], core: int = 0) -> Iterator[None]:
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, preexec_fn=lambda: _pin(core)
    )
    try:
        wait_for(port, process)
        yield
    finally:
        process.terminate()
        process.wait(30)


def _load(url: str, key: str, seconds: int, connections: int) -> Sample:
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--latency",
        "-H",
        f"Authorization: Bearer {key}",
        url,
    ]
    out = subprocess.run(command, check=True, capture_output=True, text=True, preexec_fn=lambda: _pin(1)).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise SystemExit(f"The load met errors:\n{out}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", out)
    assert rate is not None
    assert p99 is not None
    return Sample(float(rate[1]), float(p99[1]) * {"us": 0.001, "ms": 1, "s": 1000}[p99[2]])


def _write_broker_files(folder: Path, sandbox_port: int, key: str) -> dict[str, str]:
    base_url = f"http://127.0.0.1:{sandbox_port}"
    credential = {
        "kind": "oauth_server_to_server",
        "org_id": ORG,
        "client_id": "benchmark",
        "client_secrets": ["benchmark-secret"],
        "scopes": ["openid", "AdobeID", "read_organizations"],
        "ims_base_url": base_url,
    }
    (folder / ORG).mkdir()
    (folder / ORG / "default.json").write_text(json.dumps(credential))
    client = {name: credential[name] for name in ("kind", "org_id", "client_id", "client_secrets", "scopes")}
    (folder / "clients.json").write_text(json.dumps({"clients": [client]}))
    (folder / "policy.yaml").write_text(
        f"version: 1\ncallers:\n  - name: bench\n    match: {{api_key_sha256: ['{api_key_sha256(key)}']}}\n"
        f"    rate_limit: 1000000/s\n    allow: [{{orgs: ['{ORG}'], credentials: [default]}}]\n"
    )
    return {
        "BROKER_POLICY_FILE": str(folder / "policy.yaml"),
        "BROKER_CREDENTIAL_STORE": "directory",
        "BROKER_CREDENTIAL_DIR": str(folder),
        "BROKER_IMS_BASE_URLS": base_url,
        "BROKER_AUDIT_FILE": str(folder / "audit.log"),
    }


def _raw_command(folder: Path, port: int, size: int) -> list[str]:
    code = RAW_APP + (
        f"\nBODY = b'x' * {size}\nimport uvicorn\n"
        f"uvicorn.run(app, port={port}, http='httptools', loop='uvloop', access_log=False, log_level='error',"
        " lifespan='off', server_header=False)\n"
    )
    script = folder / "raw_app.py"
    script.write_text(code)
    return [sys.executable, str(script)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("This benchmark needs wrk (Debian package wrk).")
    with tempfile.TemporaryDirectory() as name:
        _measure(Path(name), options.seconds, options.rounds, options.connections)


def _measure(folder: Path, seconds: int, rounds: int, connections: int) -> None:
    key = new_api_key("bench", os.urandom(32))
    sandbox_port, broker_port, raw_port = free_port(), free_port(), free_port()
    environment = _write_broker_files(folder, sandbox_port, key) | {"BROKER_PORT": str(broker_port)}
    cli = [sys.executable, "-m", "app.cli"]
    sandbox = [*cli, "sandbox", "--port", str(sandbox_port), "--clients", str(folder / "clients.json")]
    url = f"http://127.0.0.1:{broker_port}/token?org={ORG}"
    with _server(sandbox, sandbox_port, {}, core=1), _server([*cli, "serve"], broker_port, environment):
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
        size = len(urllib.request.urlopen(request, timeout=10).read())
        raw_url = f"http://127.0.0.1:{raw_port}/"
        with _server(_raw_command(folder, raw_port, size), raw_port, {}):
            urls = (raw_url, url, url.replace("/token?", "/headers?"))
            samples = [tuple(_load(each, key, seconds, connections) for each in urls) for _ in range(rounds)]
    _report(samples, size, connections)


def _report(samples: Sequence[Sequence[Sample]], size: int, connections: int) -> None:
    """Print medians, and the ratios of samples that were taken one right after the other."""
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, body {size} bytes, {connections} connections")
    print(f"{'':14}{'requests/s':>12}{'p99 ms':>10}")
    for index, name in enumerate(NAMES):
        rate = statistics.median(turn[index].rate for turn in samples)
        p99 = statistics.median(turn[index].p99 for turn in samples)
        print(f"{name:14}{rate:12.0f}{p99:10.2f}")
    for index, of in ((1, 0), (2, 1)):
        pairs = [(turn[index], turn[of]) for turn in samples]
        _report_ratio(f"{NAMES[index]} : {NAMES[of]}, requests/s", [one.rate / other.rate for one, other in pairs])
        _report_ratio(f"{NAMES[index]} : {NAMES[of]}, p99", [one.p99 / other.p99 for one, other in pairs])


def _report_ratio(name: str, ratios: Sequence[float]) -> None:
    print(f"{name}: median {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
