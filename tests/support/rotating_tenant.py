"""A tenant whose client secret can be rotated, and a rotation that can be killed at any call."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.bootstrap.credential_tools import CredentialTools, credential_tools
from app.domain.names import CredentialRef, OrgId
from app.domain.stored_document import rotation_path
from app.lifecycle.rotation_progress import RotationRules
from app.lifecycle.secret_rotation import SecretRotation
from app.ports import ClientSecrets
from app.sandbox.clients import client_from
from app.sandbox.secrets_api import SCOPES
from app.settings.settings import read_minting_settings
from tests.support.ims_server import RunningSandbox
from tests.support.recorded_events import RecordedEvents
from tests.support.tenants import Tenant


class Killed(BaseException):
    """The process ended here; nothing catches it."""


@dataclass
class Deadline:
    """Kills at the call of this number, before or after it has had its effect.

    Args:
        at: The number of the call, from 1; None for never.
        after: Whether the call still has its effect.
        seen: The calls so far.

    """

    at: int | None = None
    after: bool = False
    seen: int = field(default=0, init=False)

    async def guard(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Make a call, or end the process before or after it."""
        self.seen += 1
        if self.seen != self.at:
            return await call()
        if self.after:
            with contextlib.suppress(Exception):
                await call()
        raise Killed


class Mortal:
    """A port whose calls may be the last of the process.

    Args:
        port: The real one.
        deadline: When the process ends.

    """

    def __init__(self, port: object, deadline: Deadline) -> None:
        self._port = port
        self._deadline = deadline

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if name == "parsed":
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._deadline.guard(lambda: method(*args, **kwargs))

        return call


@dataclass
class RotatingTenant:
    """One tenant with the scopes that Adobe's secrets API needs.

    Args:
        ims: Adobe.
        tools: What commands use.
        api: Adobe's secrets API.
        tenant: The tenant.

    """

    ims: RunningSandbox
    tools: CredentialTools
    api: ClientSecrets
    folder: Path
    tenant: Tenant

    @property
    def ref(self) -> CredentialRef:
        """Its credential."""
        return CredentialRef(OrgId(self.tenant.org))

    @property
    def known_secrets(self) -> tuple[str, ...]:
        """The secrets that Adobe accepts."""
        client = self.ims.sandbox.state.clients.find(self.tenant.client_id)
        assert client is not None
        return client.client_secrets

    @property
    def stored_secrets(self) -> list[str]:
        """The secrets in the document."""
        return list(json.loads((self.folder / self.tenant.org / "default.json").read_text())["client_secrets"])

    async def vends(self) -> bool:
        """Whether a broker that reads the document now gets a token."""
        credential = await self.tools.store.fetch(self.ref)
        return bool((await self.tools.canary.accepted(credential)).token.value)

    async def has_state(self) -> bool:
        """Whether an unfinished rotation is written down."""
        return await self.tools.documents.read(rotation_path(self.ref)) is not None

    def rotation(
        self,
        rules: RotationRules,
        run: str = "run",
        deadline: Deadline | None = None,
        clock: Callable[[], float] = time.time,
    ) -> SecretRotation:
        """A rotation, which `deadline` may end."""
        ports: list[Any] = [self.tools.documents, self.tools.canary, self.api]
        if deadline is not None:
            ports = [Mortal(port, deadline) for port in ports]
        documents, canary, api = ports
        return SecretRotation(documents, canary, api, clock, run, rules)


@asynccontextmanager
async def rotating_tenant(ims: RunningSandbox, folder: Path, **fields: Any) -> AsyncIterator[RotatingTenant]:
    """A tenant in a directory of its own."""
    tenant = Tenant(ims.base_url, **fields)
    client = client_from({**tenant.client(), "scopes": list(SCOPES)})
    ims.sandbox.state.clients.put(client)
    ids = {"console_org_id": client.console_org_id, "console_credential_id": client.credential_id}
    document = {**tenant.document(), "scopes": list(SCOPES), **ids}
    (folder / tenant.org).mkdir(parents=True)
    (folder / tenant.org / "default.json").write_text(json.dumps(document))
    settings = read_minting_settings(
        {
            "BROKER_CREDENTIAL_STORE": "directory",
            "BROKER_CREDENTIAL_DIR": str(folder),
            "BROKER_IMS_BASE_URLS": ims.base_url,
        }
    )
    async with (
        credential_tools(settings, RecordedEvents(), time.time) as tools,
        tools.secrets_api(ims.base_url) as api,
    ):
        yield RotatingTenant(ims, tools, api, folder, dataclasses.replace(tenant))
