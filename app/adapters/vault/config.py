"""The address of Vault, and how to log in."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from urllib.parse import urlsplit

from app.adapters.vault.client_tls import ClientTls
from app.settings.rules import VaultAuth, given_twice_for_login, missing_for_login


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultConfig:
    """Settings of the Vault adapter. It reads nothing else, and never a ``VAULT_*`` variable.

    Args:
        addr: Base URL, such as ``https://vault:8200``; it may have a path.
        auth: How to log in.
        token: The token, for `auth` ``token``.
        token_file: A file with the token, read again at each login; one of the two. For `auth` ``jwt``, the JWT.
        role_id: Role id, for `auth` ``approle``.
        secret_id: Secret id, for `auth` ``approle``.
        secret_id_file: A file with the secret id, read again at each login; one of the two, or none.
        role: For `auth` ``kubernetes`` or ``jwt``.
        kubernetes_token_file: A file with the pod's JWT, read again at each login; for ``jwt`` without `token_file`.
        auth_mount: Where the auth method is mounted; None for Vault's default, the method's name.
        cacert: CA bundle for `addr`; None for the system's.
        cert_file: The client's certificate chain (PEM); None for no client certificate.
        key_file: Its private key (PEM, not encrypted).
        namespace: Value of ``X-Vault-Namespace``, or None.
        deadline: Seconds for one call in all, with the login and the retry it may need.

    Raises:
        ValueError: Settings are missing or contradict each other; the message names them, never a value.

    """

    addr: str
    auth: VaultAuth = "token"
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    role_id: str | None = field(default=None, repr=False)
    secret_id: str | None = field(default=None, repr=False)
    secret_id_file: Path | None = None
    role: str | None = None
    kubernetes_token_file: Path | None = None
    auth_mount: str | None = None
    cacert: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    namespace: str | None = None
    deadline: float = 4.0
    tls: ClientTls = field(init=False, repr=False, compare=False)
    """Shared by all connections, so that each has the last good client certificate."""

    def __post_init__(self) -> None:
        url = urlsplit(self.addr)
        if url.scheme not in {"http", "https"} or not url.hostname or "@" in url.netloc:
            raise ValueError("addr must be an http or https URL without user information")
        if (self.cert_file is None) is not (self.key_file is None):
            raise ValueError("cert_file and key_file are needed together")
        files = None if self.cert_file is None or self.key_file is None else (self.cert_file, self.key_file)
        object.__setattr__(self, "tls", ClientTls(self.cacert, files))
        given = {item.name for item in fields(self) if getattr(self, item.name)}
        for group in missing_for_login(self.auth, given):
            raise ValueError(f"auth {self.auth} needs {' or '.join(group)}")
        if both := given_twice_for_login(self.auth, given):
            raise ValueError(f"auth {self.auth} needs only one of {' and '.join(both)}")

    @property
    def mount(self) -> str:
        """Where the auth method is mounted."""
        return self.auth_mount or self.auth

    @property
    def can_log_in_again(self) -> bool:
        """False for a token that is given by value, because there is no source of a newer one."""
        return self.auth != "token" or self.token_file is not None
