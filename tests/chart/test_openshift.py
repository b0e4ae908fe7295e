"""The values for OpenShift, whose security context constraint `restricted-v2` refuses fixed user and group ids."""

from __future__ import annotations

import yaml

from tests.support.chart import ci_values, render
from tests.support.chart_checks import containers, pods
from tests.support.fenced import fenced


def test_no_pod_names_a_user_or_group() -> None:
    """No pod of the OpenShift values has a user or group id, in any security context."""
    specs = dict(pods(render(ci_values("openshift"))))

    assert specs
    for spec in specs.values():
        contexts = [spec["securityContext"], *(one["securityContext"] for one in containers(spec))]
        for context in contexts:
            assert not context.keys() & {"runAsUser", "runAsGroup", "fsGroup"}
            assert context["runAsNonRoot"] is True


def test_the_documented_values_are_the_tested_ones() -> None:
    """The values that docs/kubernetes.md shows for OpenShift are part of the tested file."""
    documented, tested = yaml.safe_load(fenced("kubernetes.md", "openshift")), ci_values("openshift")

    assert documented == {name: tested[name] for name in documented}


def test_the_callers_may_still_call() -> None:
    """Helm replaces lists, so the list for OpenShift has each peer that the values above it allow to call."""
    general, openshift = (yaml.safe_load(fenced("kubernetes.md", name)) for name in ("values", "openshift"))
    allowed, replaced = (values["networkPolicy"]["ingress"]["from"] for values in (general, openshift))

    assert allowed
    assert [peer for peer in allowed if peer not in replaced] == []
