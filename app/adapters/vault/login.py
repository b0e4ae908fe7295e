"""Gets a token from Vault and renews it. All functions block, and run in a thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from hvac.api.auth_methods import JWT, AppRole, Kubernetes, Token

from app.adapters.vault.config import VaultConfig
from app.adapters.vault.vault_problem import Meaning, VaultProblem, VaultProblemError
from app.adapters.vault.wire import VaultAdapter, connect
from app.domain.dependency_errors import CredentialStoreError
from app.process.regular_file import FileError, read_bytes
from app.settings.rules import VaultAuth

_MAX_TOKEN_BYTES = 64 * 1024

_REFUSED: dict[VaultAuth, str] = {
    "token": "Vault refuses the broker's login: check BROKER_VAULT_TOKEN or BROKER_VAULT_TOKEN_FILE.",
    "approle": "Vault refuses the broker's login: check BROKER_VAULT_ROLE_ID, BROKER_VAULT_AUTH_MOUNT, and"
    " BROKER_VAULT_SECRET_ID or BROKER_VAULT_SECRET_ID_FILE, which only a role with bind_secret_id=false does without.",
    "kubernetes": "Vault refuses the broker's login: check BROKER_VAULT_ROLE, BROKER_VAULT_AUTH_MOUNT, and the role's"
    " bound service account.",
    "jwt": "Vault refuses the broker's login: check BROKER_VAULT_ROLE, BROKER_VAULT_AUTH_MOUNT, and the issuer,"
    " audience and subject that Vault expects of the JWT.",
    "agent": "The Vault Agent or Vault Proxy at BROKER_VAULT_ADDR adds no token that Vault accepts: check its"
    " auto_auth, and use_auto_auth_token in its api_proxy.",
}

_REFUSALS = (
    VaultProblem.BAD_TOKEN,
    VaultProblem.POLICY,
    VaultProblem.INVALID,
    VaultProblem.ABSENT,
    VaultProblem.NO_MOUNT,
)


@dataclass(frozen=True, slots=True)
class Access:
    """A Vault token and its lifetime.

    Args:
        adapter: Sends the login request.
        since: When it was issued or renewed, by the session's clock.
        lifetime: Seconds from `since` to its end; 0 if it has none.
        renewable: Whether Vault would renew it.
        full: The lifetime of a new token, in seconds; a renewal near the token's maximum lifetime gives less.

    """

    adapter: VaultAdapter = field(repr=False)
    since: float
    lifetime: float
    renewable: bool
    full: float


def login_meaning(auth: VaultAuth) -> Meaning:
    """The meaning of a refused login: the settings of the operator are wrong, not those of the tenant."""
    return dict.fromkeys(_REFUSALS, partial(CredentialStoreError, _REFUSED[auth]))


def log_in(config: VaultConfig, clock: Callable[[], float]) -> Access:
    """Log in as `config` says.

    Raises:
        VaultProblemError: Vault refuses, or cannot be used.
        CredentialStoreError: A file that the login needs cannot be read.

    """
    since = clock()
    if config.auth == "token":
        return _adopt(connect(config, config.token or _read_token(config.token_file, "BROKER_VAULT_TOKEN_FILE")), since)
    if config.auth == "agent":
        return _through_agent(connect(config), since)
    entry = connect(config)
    try:
        token, lifetime, renewable = _grant(_presented(config, entry))
    finally:
        entry.close()
    return Access(connect(config, token), since, lifetime, renewable, full=lifetime)


def _presented(config: VaultConfig, entry: VaultAdapter) -> Mapping[str, object]:
    """The answer of the auth method to what the broker has to present."""
    answer: Mapping[str, object]
    if config.auth == "approle":
        secret_id = config.secret_id
        if config.secret_id_file is not None:
            secret_id = _read_token(config.secret_id_file, "BROKER_VAULT_SECRET_ID_FILE")
        answer = AppRole(entry).login(config.role_id, secret_id, use_token=False, mount_point=config.mount)
    elif config.auth == "jwt":
        answer = JWT(entry).jwt_login(config.role, _read_jwt(config), use_token=False, path=config.mount)
    else:
        jwt = _read_token(config.kubernetes_token_file, "BROKER_VAULT_KUBERNETES_TOKEN_FILE")
        answer = Kubernetes(entry).login(config.role or "", jwt, use_token=False, mount_point=config.mount)
    return answer


def _read_jwt(config: VaultConfig) -> str:
    if config.token_file is not None:
        return _read_token(config.token_file, "BROKER_VAULT_TOKEN_FILE")
    return _read_token(config.kubernetes_token_file, "BROKER_VAULT_KUBERNETES_TOKEN_FILE")


def renew(access: Access, clock: Callable[[], float]) -> Access:
    """Renew the token of `access`.

    Raises:
        VaultProblemError: Vault refuses, or cannot be used.

    """
    since = clock()
    answer = Token(access.adapter).renew_self()  # type: ignore[no-untyped-call]  # hvac's stubs leave it open
    _, lifetime, renewable = _grant(answer)
    return replace(access, since=since, lifetime=lifetime, renewable=renewable)


def look_up(adapter: VaultAdapter) -> tuple[float, bool]:
    """Lifetime in seconds (0 if it does not expire) and renewability of the token that `adapter` sends.

    Raises:
        VaultProblemError: Vault refuses, or cannot be used.

    """
    try:
        answer = Token(adapter).lookup_self()  # type: ignore[no-untyped-call]  # hvac's stubs leave it open
    except VaultProblemError as error:
        if error.problem is not VaultProblem.POLICY:
            raise
        # A token without the default policy also works, but cannot be renewed.
        return 0.0, False
    data = answer.get("data")
    if not isinstance(data, Mapping):
        raise VaultProblemError(VaultProblem.UNEXPECTED_RESPONSE)
    return _seconds(data.get("ttl")), data.get("renewable") is True


def _through_agent(adapter: VaultAdapter, since: float) -> Access:
    """The access through a Vault Agent or Proxy, which adds its own token and renews it: asks whether it does."""
    look_up(adapter)
    return Access(adapter, since, lifetime=0.0, renewable=False, full=0.0)


def _adopt(adapter: VaultAdapter, since: float) -> Access:
    """The access of a configured token: asks Vault for its lifetime."""
    lifetime, renewable = look_up(adapter)
    return Access(adapter, since, lifetime, renewable, full=lifetime)


def _grant(answer: Mapping[str, object]) -> tuple[str, float, bool]:
    """Token, lifetime in seconds and renewability of a login's or a renewal's answer."""
    auth = answer.get("auth")
    if not isinstance(auth, Mapping):
        raise VaultProblemError(VaultProblem.UNEXPECTED_RESPONSE)
    token = auth.get("client_token")
    if not isinstance(token, str) or not _is_token(token):
        raise VaultProblemError(VaultProblem.UNEXPECTED_RESPONSE)
    return token, _seconds(auth.get("lease_duration")), auth.get("renewable") is True


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise VaultProblemError(VaultProblem.UNEXPECTED_RESPONSE)
    return float(value)


def _read_token(path: Path | None, setting: str) -> str:
    if path is None:
        raise CredentialStoreError(f"{setting} is not set.")
    try:
        text = read_bytes(path, _MAX_TOKEN_BYTES).decode("ascii", errors="replace").strip()
    except FileError as error:
        raise CredentialStoreError(f"{setting} {error.reason}.") from None
    if not text:
        raise CredentialStoreError(f"{setting} is empty.")
    if not _is_token(text):
        raise CredentialStoreError(f"{setting} does not hold a token.")
    return text


def _is_token(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable() and " " not in text
