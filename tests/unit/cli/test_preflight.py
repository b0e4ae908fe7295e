"""How a failed start is described."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from app.cli.failure import USAGE, CommandError
from app.cli.preflight import check_credential_dir, start_error
from app.domain.plain_document import PolicyError
from app.process.certificate_pair import CertificatePairError
from app.settings.settings import Settings, read_minting_settings, read_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose files have distinct names."""
    return read_settings(
        {
            "BROKER_POLICY_FILE": "/p",
            "BROKER_CREDENTIAL_STORE": "directory",
            "BROKER_CREDENTIAL_DIR": "/c",
            "BROKER_AUDIT_FILE": "/a",
            "BROKER_PORT": "81",
        }
    )


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (PolicyError("callers", "must be a list"), "BROKER_POLICY_FILE: callers: must be a list."),
        (CertificatePairError("key", "must not be encrypted"), "BROKER_TLS_KEY_FILE: must not be encrypted."),
        (CertificatePairError("cert", "is too large"), "BROKER_TLS_CERT_FILE: is too large."),
        (PermissionError(13, "Permission denied", "/a"), "BROKER_AUDIT_FILE: cannot be opened: permission denied."),
        (PermissionError(13, "Permission denied", "/x"), "/x: cannot be opened: permission denied."),
        (
            OSError(98, "Address already in use"),
            "BROKER_HOST, BROKER_PORT: cannot listen on 127.0.0.1 port 81: address already in use.",
        ),
        (socket.gaierror(-2, "Name or service not known"), "BROKER_HOST: must be an address of this machine."),
        (UnicodeError("label too long"), "BROKER_HOST: must be an address of this machine."),
    ],
)
def test_a_foreseen_failure_names_its_variable(settings: Settings, error: OSError | ValueError, sentence: str) -> None:
    """Each foreseen failure names the variable that caused it, with the exit code of a wrong setting."""
    error_shown = start_error(settings, error)
    assert isinstance(error_shown, CommandError)
    assert (str(error_shown), error_shown.exit_code) == (sentence, USAGE)


@pytest.mark.parametrize("name", ["missing", "file", "loop/x", "n" * 300], ids=len)
def test_a_directory_of_credentials_that_cannot_be_entered(tmp_path: Path, name: str) -> None:
    """Whatever the operating system says of the path, the sentence names the setting."""
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    environment = {"BROKER_CREDENTIAL_STORE": "directory", "BROKER_CREDENTIAL_DIR": str(tmp_path / name)}
    with pytest.raises(CommandError, match="BROKER_CREDENTIAL_DIR: is not a directory") as refused:
        check_credential_dir(read_minting_settings(environment))
    assert refused.value.exit_code == USAGE


def test_an_unforeseen_failure_is_not_quoted(settings: Settings) -> None:
    """An unforeseen failure is returned unchanged: its text may contain a secret."""
    error = ValueError("hunter2")
    assert start_error(settings, error) is error
