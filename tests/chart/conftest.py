"""The chart's tests never use a cluster of the person who runs them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kube_api import kube_api

__all__ = ["kube_api"]


@pytest.fixture(scope="session", autouse=True)
def no_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """``KUBECONFIG`` names a file that does not exist."""
    missing = tmp_path_factory.mktemp("kube") / "missing"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(missing))
        yield missing
