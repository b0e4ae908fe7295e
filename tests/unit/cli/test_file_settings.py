"""Every setting that names a file refuses anything but a small regular file, at once and by the setting's name."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.adapters.audit_log import AuditLog
from app.adapters.policy_file import read_policy
from app.adapters.vault import VaultConfig
from app.adapters.vault.login import log_in
from app.cli.failure import CommandError
from app.cli.preflight import check_settings, start_error
from app.domain.dependency_errors import CredentialStoreError
from app.domain.plain_document import PolicyError
from app.settings.settings import Settings, read_settings
from app.shared_cache.key_ring import new_key_ring
from tests.support.tls import server_certificate

pytestmark = pytest.mark.timeout(10)

VAULT = "http://127.0.0.1:1"
NOT_READ = {"credential_dir", "audit_file"}
"""A directory, and a file that is only written."""


def at_the_check(settings: Settings) -> str:
    """The error of the check before the start."""
    with pytest.raises(CommandError) as refused:
        check_settings(settings)
    return str(refused.value)


def at_the_start(settings: Settings) -> str:
    """The error of the start about the policy."""
    with pytest.raises(PolicyError) as refused:
        read_policy(settings.policy_file)
    return str(start_error(settings, refused.value))


def login(**more: str) -> Callable[[Settings], str]:
    """The error of a login to Vault."""

    def said(settings: Settings) -> str:
        files = {
            "token": {"token_file": settings.vault_token_file},
            "approle": {"secret_id_file": settings.vault_secret_id_file},
            "kubernetes": {"kubernetes_token_file": settings.vault_kubernetes_token_file},
        }[settings.vault_auth]
        config = VaultConfig(addr=VAULT, auth=settings.vault_auth, **files, **more)  # type: ignore[arg-type]
        with pytest.raises(CredentialStoreError) as refused:
            log_in(config, time.monotonic)
        return str(refused.value)

    return said


CASES: dict[str, tuple[dict[str, str], Callable[[Settings], str]]] = {
    "policy_file": ({}, at_the_start),
    "tls_cert_file": ({"TLS_KEY_FILE": "server.key"}, at_the_check),
    "tls_key_file": ({"TLS_CERT_FILE": "server.pem"}, at_the_check),
    "vault_token_file": ({}, login()),
    "vault_secret_id_file": ({"VAULT_AUTH": "approle", "VAULT_ROLE_ID": "r"}, login(role_id="r")),
    "vault_kubernetes_token_file": ({"VAULT_AUTH": "kubernetes", "VAULT_ROLE": "r"}, login(role="r")),
    "vault_cacert": ({}, at_the_check),
    "vault_cert_file": ({"VAULT_KEY_FILE": "server.key", "VAULT_ADDR": "https://127.0.0.1:1"}, at_the_check),
    "vault_key_file": ({"VAULT_CERT_FILE": "server.pem", "VAULT_ADDR": "https://127.0.0.1:1"}, at_the_check),
    "redis_cacert": ({}, at_the_check),
    "proxy_password_file": ({"PROXY_URL": "http://127.0.0.1:1", "PROXY_USERNAME": "u"}, at_the_check),
    "redis_cert_file": ({"REDIS_KEY_FILE": "server.key"}, at_the_check),
    "redis_key_file": ({"REDIS_CERT_FILE": "server.pem"}, at_the_check),
    "redis_password_file": ({}, at_the_check),
    "redis_sentinel_password_file": ({"REDIS_URL": "rediss+sentinel://127.0.0.1:1/primary"}, at_the_check),
    "cache_keys_file": ({}, at_the_check),
    "ims_cacert": ({}, at_the_check),
}
"""Each setting, with the others that it needs and the step that reads it."""


def test_every_setting_that_names_a_file_has_a_case() -> None:
    """Every setting for a file has a case above, and so must a new one."""
    assert {name for name, field in Settings.model_fields.items() if "Path" in str(field.annotation)} == (
        CASES.keys() | NOT_READ
    )


def make_pipe(path: Path) -> None:
    """A named pipe without a writer."""
    os.mkfifo(path)


def make_huge(path: Path) -> None:
    """A sparse file that is larger than any setting accepts."""
    with path.open("wb") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    ("make", "found"),
    [
        (make_pipe, "is a named pipe, not a regular file."),
        (Path.mkdir, "is a directory, not a regular file."),
        (make_huge, "is larger than "),
        (lambda _: None, "cannot be read: no such file or directory."),
    ],
    ids=["pipe", "directory", "huge", "missing"],
)
def test_only_a_small_regular_file_is_accepted(
    tmp_path: Path, name: str, make: Callable[[Path], None], found: str
) -> None:
    """A pipe, a directory, a huge or a missing file is refused at once, in one sentence that names the setting."""
    server_certificate(tmp_path)
    (tmp_path / "keys.json").write_text(new_key_ring(os.urandom, "k1", "2026-01-01T00:00:00Z"))
    more, said = CASES[name]
    make(tmp_path / "bad")
    files = {
        variable: str(tmp_path / value) if value.startswith("server.") else value for variable, value in more.items()
    }
    settings = read_settings(
        {f"BROKER_{variable}": value for variable, value in {
            "POLICY_FILE": "/policy",
            "VAULT_ADDR": VAULT,
            **({} if name.startswith("vault") and name.endswith(("token_file", "id_file")) else {"VAULT_TOKEN": "t"}),
            "REDIS_URL": "rediss://127.0.0.1:1",
            "CACHE_KEYS_FILE": str(tmp_path / "keys.json"),
            **files,
            name.upper(): str(tmp_path / "bad"),
        }.items()}
    )  # fmt: skip
    sentence = said(settings)
    assert f"BROKER_{name.upper()}" in sentence
    assert found in sentence
    assert "\n" not in sentence


def test_all_that_cannot_be_used_is_named_at_once(tmp_path: Path) -> None:
    """Each setting that names a missing file or directory has its sentence in one error, once."""
    named = {
        "BROKER_IMS_CACERT": "/nope/ca",
        "BROKER_REDIS_CACERT": "/nope/ca",
        "BROKER_CREDENTIAL_DIR": "/nope/credentials",
        "BROKER_TLS_CERT_FILE": "/nope/cert",
        "BROKER_CACHE_KEYS_FILE": "/nope/keys",
        "BROKER_REDIS_PASSWORD_FILE": "/nope/password",
        "BROKER_PROXY_PASSWORD_FILE": "/nope/password",
    }
    others = {
        "BROKER_POLICY_FILE": "/policy",
        "BROKER_CREDENTIAL_STORE": "directory",
        "BROKER_TLS_KEY_FILE": "/nope/key",
        "BROKER_REDIS_URL": "rediss://127.0.0.1:1",
        "BROKER_PROXY_URL": "http://127.0.0.1:1",
        "BROKER_PROXY_USERNAME": "u",
    }
    sentence = at_the_check(read_settings({**named, **others}))
    assert {name: sentence.count(name) for name in named} == dict.fromkeys(named, 1)


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (make_pipe, "no process reads this named pipe."),
        (Path.mkdir, "is a directory."),
        (lambda path: path.symlink_to(path / "missing"), ": "),
    ],
    ids=["pipe", "directory", "loop"],
)
def test_an_audit_file_that_cannot_be_opened_is_refused(
    tmp_path: Path, make: Callable[[Path], None], found: str
) -> None:
    """The start ends at once, with one sentence that names the setting."""
    make(tmp_path / "bad")
    settings = read_settings(
        {
            "BROKER_POLICY_FILE": "/policy",
            "BROKER_VAULT_ADDR": VAULT,
            "BROKER_VAULT_TOKEN": "t",
            "BROKER_AUDIT_FILE": str(tmp_path / "bad"),
        }
    )
    with pytest.raises(OSError) as refused:
        AuditLog(settings.audit_file).start()
    sentence = str(start_error(settings, refused.value))
    assert sentence.startswith("BROKER_AUDIT_FILE: cannot be opened: ")
    assert found in sentence
    assert "\n" not in sentence
