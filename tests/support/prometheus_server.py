"""A real Prometheus that scrapes brokers, asked over its HTTP API."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from tests.support.children import Child, free_port, wait_until
from tests.support.processes import environment
from tests.support.promtool import program


class PrometheusServer:
    """It keeps its data in a folder of the test's.

    Args:
        folder: The folder for its files.
        targets: ``host:port`` of what it scrapes.
        rules: A rule file, or None.
        seconds: Between two scrapes, and two evaluations.

    """

    def __init__(self, folder: Path, targets: Sequence[str], rules: Path | None = None, seconds: float = 1.0) -> None:
        self.port = free_port()
        every = f"{int(seconds * 1000)}ms"
        config = {
            "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
            "scrape_configs": [
                {"job_name": "broker", "static_configs": [{"targets": list(targets), "labels": {"namespace": "adobe"}}]}
            ],
            "rule_files": [] if rules is None else [str(rules)],
        }
        file = folder / "prometheus.yaml"
        file.write_text(yaml.safe_dump(config))
        command = [
            program("prometheus"),
            f"--config.file={file}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        ]
        self.process = Child("prometheus", command, folder, environment(folder))

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.process.launch()
        wait_until(self._ready, f"Prometheus does not start: {self.process.tail()}")

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The series of an expression now: labels and value."""
        found = self.ask("query", {"query": expression})["result"]
        return [(series["metric"], float(series["value"][1])) for series in found]

    def value(self, expression: str) -> float | None:
        """The value of an expression that has one series; None if it has none."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return found[0][1] if found else None

    def range(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The series of an expression between two moments (Unix time in seconds)."""
        query = {"query": expression, "start": str(start), "end": str(end), "step": str(step)}
        series: list[dict[str, Any]] = self.ask("query_range", query)["result"]
        return series

    def ask(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """The ``data`` of an answer of its API."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urlencode(query or {})}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            content = json.load(answer)
        assert content["status"] == "success", content
        return content["data"]

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextlib.contextmanager
def running_prometheus(
    folder: Path, targets: Sequence[str], rules: Path | None = None, seconds: float = 1.0
) -> Iterator[PrometheusServer]:
    """A server for as long as the context lasts."""
    server = PrometheusServer(folder, targets, rules, seconds)
    try:
        server.start()
        yield server
    finally:
        server.process.kill()
