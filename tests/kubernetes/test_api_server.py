"""The tests use a real API server: the other tests in this folder depend on this."""

from __future__ import annotations

from pathlib import Path

import jwt
import pytest
import yaml

from tests.support.kube_api import ISSUER, KubeApi, KubeApiError
from tests.support.repository import ROOT


def test_tokens(kube_api: KubeApi) -> None:
    """A requested token verifies with the published keys, and carries its audience and the claims of Kubernetes."""
    kube_api.create_service_account("harness", "app")
    token = kube_api.token_request("harness", "app", "another-audience", 700)

    keys = jwt.PyJWKSet.from_json(kube_api.jwks().decode())
    key = keys[str(jwt.get_unverified_header(token)["kid"])]
    claims = jwt.decode(token, key, algorithms=["RS256"], audience="another-audience", issuer=ISSUER)

    assert claims["sub"] == "system:serviceaccount:harness:app"
    assert claims["kubernetes.io"]["namespace"] == "harness"
    assert claims["exp"] - claims["iat"] == 700


def test_the_keys_need_a_credential(kube_api: KubeApi) -> None:
    """The keys cannot be read without a credential."""
    assert kube_api.request("GET", "/openid/v1/jwks", anonymous=True).status == 403


def test_pod_security(kube_api: KubeApi) -> None:
    """A namespace that enforces the restricted profile refuses a pod that does not follow it."""
    kube_api.restricted_namespace("harness-restricted")
    with pytest.raises(KubeApiError, match="restricted") as refused:
        kube_api.create_pod("harness-restricted", "root", "default")
    assert refused.value.status == 403


def test_the_cron_job_recipe(kube_api: KubeApi) -> None:
    """The recipe for a CronJob is accepted as it stands, and its pod follows the restricted profile."""
    manifest = yaml.safe_load((ROOT / "examples" / "kubernetes" / "cronjob.yaml").read_text())
    space = kube_api.restricted_namespace("harness-recipe")
    manifest["metadata"]["namespace"] = space
    kube_api.create_service_account(space, "export")
    dry_run = "dryRun=All&fieldValidation=Strict"
    job = kube_api.request("POST", f"/apis/batch/v1/namespaces/{space}/cronjobs?{dry_run}", manifest)
    assert job.status == 201, job
    spec = manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "export"}, "spec": spec}
    assert kube_api.request("POST", f"/api/v1/namespaces/{space}/pods?{dry_run}", pod).status == 201


def test_kubeconfig(kube_api: KubeApi, tmp_path: Path) -> None:
    """A kubeconfig file names the server, its CA and a token."""
    written = yaml.safe_load(kube_api.kubeconfig(tmp_path / "config").read_text())
    assert written["clusters"][0]["cluster"]["server"] == kube_api.url
    assert written["users"][0]["user"]["token"] == kube_api.admin_token
