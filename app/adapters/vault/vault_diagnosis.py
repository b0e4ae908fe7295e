"""Checks of Vault: whether it answers, the login, the mount, and what the policy allows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from app.adapters.vault.config import VaultConfig
from app.adapters.vault.kv_engine import KvEngine
from app.adapters.vault.kv_layout import layout_defect
from app.adapters.vault.session import VaultSession
from app.adapters.vault.threads import BoundedThreads
from app.adapters.vault.vault_problem import Meaning, VaultProblem, VaultProblemError, meant
from app.adapters.vault.wire import VaultAdapter, connect
from app.diagnosis import Check, CheckFinding, failed, fine, warning
from app.domain.dependency_errors import CredentialStoreError

_ANY_STATE = "standbyok=true&perfstandbyok=true&sealedcode=200&uninitcode=200&drsecondarycode=200"
_SOON_SECONDS = 24 * 3600
_POLICY_PAGE = "Compare the policy with docs/least-privilege.md."
_LOGIN_PAGE = "Check the BROKER_VAULT_ settings of the login; docs/least-privilege.md has the roles."
_WRITING = {"create", "update", "patch", "delete", "sudo", "root"}
_NO_KEY = "start-check"


class _DeniedError(CredentialStoreError):
    """Vault's policy denies the call."""


_DENIED: Meaning = {VaultProblem.POLICY: lambda: _DeniedError("The Vault policy denies it.")}

_NO_VAULT: Meaning = dict.fromkeys(
    (VaultProblem.ABSENT, VaultProblem.NO_MOUNT, VaultProblem.POLICY, VaultProblem.INVALID),
    lambda: CredentialStoreError(VaultProblem.UNEXPECTED_RESPONSE.value),
)
"""Refusals that no Vault gives to a question about its health."""


@dataclass(frozen=True, slots=True)
class VaultLayout:
    """Where the settings say that things are in Vault.

    Args:
        mount: The mount of the KV engine.
        version: The version of the KV engine.
        prefix: The folder below it.
        transit: The mount of the transit engine.
        missing: The path of a document that no one has, below the prefix.

    """

    mount: str
    version: int
    prefix: str
    transit: str
    missing: str


class VaultDiagnosis:
    """The checks of one Vault.

    Args:
        config: Its address, and how to log in.
        session: Makes the calls that need a login.
        layout: The mounts and paths in Vault.

    """

    def __init__(self, config: VaultConfig, session: VaultSession, layout: VaultLayout) -> None:
        # The health endpoint is outside all namespaces.
        self._open = replace(config, namespace=None)
        self._config = config
        self._session = session
        self._layout = layout
        self._engine = KvEngine(layout.mount.strip("/"), layout.version)

    def checks(self) -> list[Check]:
        """All of them."""
        return [
            Check("vault", self._reachable, remedy="Check BROKER_VAULT_ADDR and the network path to it."),
            Check("vault login", self._login, "vault", _LOGIN_PAGE),
            Check("vault mount", self._mount, "vault login", _POLICY_PAGE),
            Check("vault policy", self._policy, "vault mount", _POLICY_PAGE),
        ]

    async def _reachable(self) -> CheckFinding:
        threads = BoundedThreads(1)
        try:
            state = await threads.run(partial(_health, self._open))
        except VaultProblemError as error:
            raise meant(error, _NO_VAULT) from None
        finally:
            threads.close()
        if not state.get("initialized") or state.get("sealed"):
            return failed(VaultProblem.SEALED.value, "Unseal it, or point BROKER_VAULT_ADDR to a node that is ready.")
        role = "a standby, which forwards requests" if state.get("standby") else "active"
        return fine(f"It answers, is unsealed and {role}; version {str(state.get('version'))[:30]}.")

    async def _login(self) -> CheckFinding:
        auth = self._config.auth
        try:
            data = await self._session.call("check", _look_up_self, _DENIED)
        except _DeniedError:
            return fine(f"The login by {auth} works; the policy does not let it ask how long its token lives.")
        policies, seconds = data.get("policies"), data.get("ttl")
        life = f"its token lives {seconds} s more" if seconds else "its token does not end"
        detail = f"The login by {auth} works; {life}, and is {'' if data.get('renewable') else 'not '}renewable."
        if isinstance(policies, list) and "root" in policies:
            return warning(f"{detail} It is a root token.", "Give the broker a token with the policy of its own.")
        ends = isinstance(seconds, int) and 0 < seconds < _SOON_SECONDS and not data.get("renewable")
        if ends and not self._config.can_log_in_again:
            return warning(detail, "Use a renewable token (-period=24h), or another BROKER_VAULT_AUTH.")
        return fine(detail)

    async def _mount(self) -> CheckFinding:
        defect = partial(layout_defect, self._engine, self._layout.prefix.strip("/"))
        try:
            sentence = await self._session.call("check", defect, _DENIED)
        except _DeniedError:
            return failed(
                "There is no such mount, or the policy does not allow anything below it.",
                "Check BROKER_VAULT_MOUNT and BROKER_VAULT_PREFIX. " + _POLICY_PAGE,
            )
        if sentence is not None:
            return failed(sentence, "Correct the setting.")
        return fine(f"BROKER_VAULT_MOUNT is KV version {self._engine.version}, as BROKER_VAULT_KV_VERSION says.")

    async def _policy(self) -> CheckFinding:
        layout = self._layout
        prefix = layout.prefix.strip("/")
        read, listing, sign = await asyncio.gather(
            self._allows(partial(self._engine.read, f"{prefix}/{layout.missing}")),
            self._allows(partial(self._engine.list, prefix)),
            self._allows(partial(_sign_nothing, layout.transit.strip("/"))),
        )
        if not read:
            return failed(
                "The policy does not let the broker read credentials below BROKER_VAULT_PREFIX.", _POLICY_PAGE
            )
        signing = "; signing with transit is allowed" if sign else "; signing with transit is not (only if you use it)"
        much = await self._too_much()
        if much:
            return warning(f"The policy allows more than the broker needs: {much}.", _POLICY_PAGE)
        if not listing:
            return warning("Reading is allowed; listing is not, which GET /orgs and `org list` need.", _POLICY_PAGE)
        return fine(f"Reading and listing credentials are allowed{signing}.")

    async def _allows(self, work: Callable[[VaultAdapter], object]) -> bool:
        """Whether the policy allows a call; that nothing is there counts as allowed."""
        nothing: Meaning = {
            problem: partial(_NothingThereError, problem.value)
            for problem in (VaultProblem.ABSENT, VaultProblem.INVALID)
        }
        meaning: Meaning = {
            **_DENIED,
            **nothing,
            VaultProblem.NO_MOUNT: lambda: _DeniedError(VaultProblem.NO_MOUNT.value),
        }
        try:
            with suppress(_NothingThereError):
                await self._session.call("check", work, meaning)
        except _DeniedError:
            return False
        return True

    async def _too_much(self) -> str:
        """What more the token may do, as words; empty if nothing, or if Vault does not say."""
        middle = "data/" if self._engine.version == 2 else ""
        data = f"{self._engine.mount}/{middle}{self._layout.prefix.strip('/')}/{self._layout.missing}"
        policies = "sys/policies/acl/ims-token-broker"
        try:
            answer = await self._session.call("check", partial(_capabilities, (data, policies)), _DENIED)
        except CredentialStoreError:
            return ""
        found = {path: _WRITING.intersection(answer.get(path) or ()) for path in (data, policies)}
        words = []
        if found[data]:
            words.append(f"{', '.join(sorted(found[data]))} of credentials")
        if found[policies]:
            words.append("changing Vault's policies")
        return "; ".join(words)


class _NothingThereError(CredentialStoreError):
    """The call was allowed, but there is nothing at its path."""


def _health(config: VaultConfig) -> Mapping[str, Any]:
    adapter = connect(config)
    try:
        answer = adapter.request("get", f"/v1/sys/health?{_ANY_STATE}")
    finally:
        adapter.close()
    if "sealed" not in answer:
        raise VaultProblemError(VaultProblem.UNEXPECTED_RESPONSE)
    return answer


def _look_up_self(adapter: VaultAdapter) -> Mapping[str, Any]:
    return _data(adapter.request("get", "/v1/auth/token/lookup-self"))


def _capabilities(paths: tuple[str, ...], adapter: VaultAdapter) -> Mapping[str, Any]:
    return _data(adapter.request("post", "/v1/sys/capabilities-self", json={"paths": list(paths)}))


def _sign_nothing(mount: str, adapter: VaultAdapter) -> None:
    """Ask to sign with a key that does not exist: Vault answers 400 if that is allowed."""
    adapter.request("post", f"/v1/{mount}/sign/{_NO_KEY}", json={"input": ""})


def _data(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    data = answer.get("data")
    if not isinstance(data, Mapping):
        raise VaultProblemError(VaultProblem.UNEXPECTED_RESPONSE)
    return data
