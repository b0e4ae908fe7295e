"""The files of ``dev``."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from app.adapters.policy_file import read_policy
from app.cli.demo_caller import CALLER, demo_api_key
from app.cli.demo_tenants import DEMO_ORGS, JWT_ORG, demo_tenants
from app.cli.embedded import demo_settings
from app.cli.failure import CommandError
from app.cli.self_signed import new_key_pair
from app.domain.api_key import parse_api_key
from app.domain.credential import JwtCredential
from app.domain.names import CredentialRef
from app.domain.policy import Action
from app.domain.signing import StoredKey

URL, OTHER_URL = "http://127.0.0.1:1", "http://127.0.0.1:2"


def test_the_tenants_match_the_sandbox(tmp_path: Path) -> None:
    """There is one tenant of each kind, and the sandbox has the same secrets, certificate and scopes."""
    jwt, oauth = demo_tenants(tmp_path, URL)
    assert (jwt.credential.kind, oauth.credential.kind) == ("jwt", "oauth_server_to_server")
    assert isinstance(jwt.credential, JwtCredential)
    assert jwt.client.certificates == (jwt.credential.certificate,)
    assert jwt.client.metascopes == jwt.credential.scopes
    assert oauth.client.scopes == oauth.credential.scopes
    for tenant in (jwt, oauth):
        assert tenant.client.client_secrets == tenant.credential.client_secrets
        assert tenant.credential.ims_base_url == URL


def test_a_users_changes_are_kept(tmp_path: Path) -> None:
    """A document changed between two runs is kept, except the sandbox's URL."""
    demo_tenants(tmp_path, URL)
    file = tmp_path / JWT_ORG / "default.json"
    document = {**json.loads(file.read_text()), "sandbox": "prod", "client_secrets": ["p8e-changed"]}
    file.write_text(json.dumps(document))
    jwt, _ = demo_tenants(tmp_path, OTHER_URL)
    assert json.loads(file.read_text()) == {**document, "ims_base_url": OTHER_URL}
    assert jwt.client.client_secrets == ("p8e-changed",)


def test_an_expired_certificate_is_replaced(tmp_path: Path) -> None:
    """An old folder still works: an expired certificate and its key are created again."""
    demo_tenants(tmp_path, URL)
    file = tmp_path / JWT_ORG / "default.json"
    old = new_key_pair("demo-jwt", time.time() - 366 * 86400)
    document = {**json.loads(file.read_text()), "certificate": old.certificate, "private_key": old.private_key}
    file.write_text(json.dumps(document))
    jwt, _ = demo_tenants(tmp_path, URL)
    assert isinstance(jwt.credential, JwtCredential)
    assert jwt.credential.certificate != old.certificate
    assert jwt.credential.signing != StoredKey(old.private_key)


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", '{"kind": "jwt"}', "\udcff"])
def test_an_invalid_document_is_refused(tmp_path: Path, content: str) -> None:
    """A file that is not a credential document is refused by its path, and not changed."""
    file = tmp_path / JWT_ORG / "default.json"
    file.parent.mkdir()
    file.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(CommandError, match=r"default\.json"):
        demo_tenants(tmp_path, URL)
    assert file.read_bytes() == content.encode(errors="surrogateescape")


def test_the_caller_may_do_everything(tmp_path: Path) -> None:
    """The key is allowed every action for both orgs, and is the same at the second run."""
    key_file, policy_file = tmp_path / "api-key", tmp_path / "policy.yaml"
    api_key = demo_api_key(key_file, policy_file, DEMO_ORGS)
    caller = read_policy(policy_file).caller(parse_api_key(api_key.encode()))
    assert caller.name == CALLER
    for org in DEMO_ORGS:
        permission = caller.permission(CredentialRef(org))
        assert permission is not None
        assert permission.actions == frozenset(Action)
    assert demo_api_key(key_file, policy_file, DEMO_ORGS) == api_key


def test_the_settings_ignore_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo uses its own settings, whatever the environment says."""
    monkeypatch.setenv("BROKER_REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("BROKER_NONSENSE", "1")
    settings = demo_settings(tmp_path, URL)
    assert settings.redis_url.get_secret_value() == ""
    assert settings.allowed_ims_base_urls == {URL}
    assert settings.audit_file == tmp_path / "audit.log"
