"""A tenant whose client secret can be rotated, and a rotation that can be killed at any call."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.bootstrap.credential_tools import CredentialTools, credential_tools
from app.domain.app_document import CLIENT_FIELDS, AppName
from app.domain.names import CredentialRef, OrgId
from app.domain.secret_owner import SecretOwner
from app.lifecycle.discard_rotation import discard_rotation
from app.lifecycle.rotation_progress import RotationRules
from app.lifecycle.secret_rotation import SecretRotation
from app.ports import ClientSecrets
from app.sandbox.clients import client_from
from app.sandbox.secrets_api import SCOPES
from app.settings.settings import read_minting_settings
from tests.support.ims_server import RunningSandbox
from tests.support.recorded_events import RecordedEvents
from tests.support.tenants import Tenant

CUSTOMER = OrgId("C" * 24 + "@AdobeOrg")
"""An org that has consented to an app."""


class Killed(BaseException):
    """The process ended here; nothing catches it."""


@dataclass
class Deadline:
    """Kills at the call of this number, before or after it has had its effect.

    Args:
        at: The number of the call, from 1; None for never.
        after: Whether the call still has its effect.
        names: The calls so far.

    """

    at: int | None = None
    after: bool = False
    names: list[str] = field(default_factory=list, init=False)

    async def guard(self, name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """Make the call of this name, or end the process before or after it."""
        self.names.append(name)
        if len(self.names) != self.at:
            return await call()
        if self.after:
            with contextlib.suppress(Exception):
                await call()
        raise Killed


class Mortal:
    """A port whose calls may be the last of the process.

    Args:
        port: The real port, which is wrapped.
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
            return await self._deadline.guard(name, lambda: method(*args, **kwargs))

        return call


@dataclass
class RotatingTenant:
    """One tenant with the scopes that Adobe's secrets API needs.

    Args:
        ims: The fake of Adobe IMS.
        tools: The tools that commands use.
        api: Adobe's secrets API.
        folder: Where the documents are.
        tenant: The tenant.
        app: The app whose secrets they are; `CUSTOMER` then uses it.

    """

    ims: RunningSandbox
    tools: CredentialTools
    api: ClientSecrets
    folder: Path
    tenant: Tenant
    app: AppName | None = None

    @property
    def ref(self) -> CredentialRef:
        """Its credential."""
        return CredentialRef(OrgId(self.tenant.org) if self.app is None else CUSTOMER)

    @property
    def owner(self) -> SecretOwner:
        """Whose secrets are rotated."""
        return SecretOwner(self.ref, self.app)

    @property
    def known_secrets(self) -> tuple[str, ...]:
        """The secrets that Adobe accepts."""
        client = self.ims.sandbox.state.clients.find(self.tenant.client_id)
        assert client is not None
        return client.client_secrets

    @property
    def stored_secrets(self) -> list[str]:
        """The secrets in the document."""
        return list(self.content["client_secrets"])

    @property
    def content(self) -> dict[str, Any]:
        """The document with the secrets."""
        path = self.folder.joinpath(*self.owner.document_path.parts).with_suffix(".json")
        return dict(json.loads(path.read_text()))

    async def vends(self) -> bool:
        """Whether a broker that reads the document now gets a token."""
        credential = await self.tools.store.fetch(self.ref)
        return bool((await self.tools.canary.accepted(credential)).token.value)

    async def exchange(self, document: Mapping[str, object]) -> None:
        """Let someone exchange each secret of a document."""
        await self.tools.canary.prove(self.tools.canary.parsed(self.ref, document))

    def knows(self, *secrets: str) -> None:
        """Let Adobe accept these secrets alone."""
        clients = self.ims.sandbox.state.clients
        client = clients.find(self.tenant.client_id)
        assert client is not None
        clients.put(dataclasses.replace(client, client_secrets=secrets))

    async def discard(self) -> None:
        """Forget the rotation."""
        await discard_rotation(self.tools.documents, self.tools.canary, self.owner)

    async def has_state(self) -> bool:
        """Whether an unfinished rotation is written down."""
        return await self.tools.documents.read(self.owner.state_path) is not None

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
async def rotating_tenant(
    ims: RunningSandbox, folder: Path, *, app: str | None = None, **fields: Any
) -> AsyncIterator[RotatingTenant]:
    """A tenant in a directory of its own, or an app of this name."""
    tenant = Tenant(ims.base_url, "oauth_server_to_server" if app is None else "enterprise_web_app", **fields)
    consented = {} if app is None else {CUSTOMER: "customer@techacct.adobe.com"}
    client = client_from({**tenant.client(), "scopes": list(SCOPES), "consented_orgs": consented})
    ims.sandbox.state.clients.put(client)
    ids = {"console_org_id": client.console_org_id, "console_credential_id": client.credential_id}
    document = {**tenant.document(), "scopes": list(SCOPES), **ids}
    if app is None:
        _store(folder / tenant.org / "default.json", document)
    else:
        shared = {name: document[name] for name in (*CLIENT_FIELDS, *ids)}
        _store(folder / "_apps" / f"{app}.json", shared)
        _store(folder / CUSTOMER / "default.json", {"kind": tenant.kind, "org_id": CUSTOMER, "app": app})
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
        yield RotatingTenant(ims, tools, api, folder, tenant, None if app is None else AppName(app))


def _store(path: Path, document: Mapping[str, object]) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document))
