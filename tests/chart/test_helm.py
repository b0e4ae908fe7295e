"""The real ``helm`` gives the same results for the chart as the in-process engine."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.support.chart import CHART, ChartRefusedError, ci_files, ci_values, manifests_of, render, with_value
from tests.support.helm import Helm, HelmError


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """``helm`` without a cluster."""
    return Helm(tmp_path_factory.mktemp("helm"))


@pytest.mark.parametrize("path", ci_files(), ids=lambda path: path.stem)
def test_helm_lints_every_ci_file(helm: Helm, path: Path) -> None:
    """`helm lint --strict` finds nothing wrong with the chart and the values of any ci file."""
    assert "0 chart(s) failed" in helm.run("lint", "--strict", CHART, "--values", path)


@pytest.mark.parametrize("path", ci_files(), ids=lambda path: path.stem)
def test_helm_renders_what_the_engine_renders(helm: Helm, path: Path) -> None:
    """`helm template` prints exactly the objects that the in-process tests check."""
    ours = render(ci_values(path.name.removesuffix("-values.yaml")))
    theirs = list(manifests_of(helm.template(path)))

    assert sorted(map(yaml.safe_dump, theirs)) == sorted(map(yaml.safe_dump, ours))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("replicaCount=three", "at '/replicaCount': got string, want integer"),
        ("vault.adress=x", "at '/vault': additional properties 'adress' not allowed"),
        ("tls.enabled=true", "tls.existingSecret is required with tls.enabled; set it to a TLS Secret"),
    ],
)
def test_helm_reports_what_is_wrong(helm: Helm, value: str, expected: str) -> None:
    """A wrong type, an unknown key and a contradiction make `helm template` fail with the expected message."""
    default = CHART / "ci" / "default-values.yaml"

    with pytest.raises(HelmError) as raised:
        helm.run("template", "rel", CHART, "--values", default, "--set", value)
    assert expected in str(raised.value)


def test_the_chart_refuses_to_render_without_values() -> None:
    """Without any values the chart names the first value that is required."""
    with pytest.raises(ChartRefusedError, match=r"policy\.inline is empty"):
        render({})


def test_a_package_has_every_file_it_needs(helm: Helm, tmp_path: Path) -> None:
    """A packaged chart renders the same as the folder, and does not contain the ci files."""
    helm.run("package", CHART, "--destination", tmp_path)
    [package] = tmp_path.glob("*.tgz")
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump(with_value(ci_values("monitoring"), "replicaCount", 4)))
    packed = helm.run("template", "rel", package, "--namespace", "ns", "--values", values)

    assert packed == helm.template(values)
