"""A tenant whose key and certificate can be replaced, and a person who uploads certificates to Adobe."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.adapters.certificates import certificate_facts
from app.bootstrap.credential_tools import CredentialTools, credential_tools
from app.cli.self_signed import new_key_pair
from app.domain.certificate_rotation_state import SigningPair
from app.domain.names import CredentialRef, OrgId
from app.domain.stored_document import certificate_rotation_path
from app.lifecycle.certificate_rotation import AwaitingUpload, CertificateReplaced, CertificateRotation
from app.sandbox.clients import client_from
from app.settings.settings import read_minting_settings
from tests.support.ims_server import RunningSandbox
from tests.support.recorded_events import RecordedEvents
from tests.support.rotating_tenant import Deadline, Mortal
from tests.support.tenants import Tenant


@dataclass
class CertificateTenant:
    """A tenant of kind ``jwt`` in a directory of its own.

    Args:
        ims: The fake of Adobe IMS.
        tools: The tools that commands use.
        folder: Where its document is.
        tenant: The tenant.

    """

    ims: RunningSandbox
    tools: CredentialTools
    folder: Path
    tenant: Tenant

    @property
    def ref(self) -> CredentialRef:
        """Its credential."""
        return CredentialRef(OrgId(self.tenant.org))

    @property
    def document(self) -> dict[str, Any]:
        """What is stored."""
        return dict(json.loads((self.folder / self.tenant.org / "default.json").read_text()))

    def put(self, **changes: object) -> None:
        """Let someone else change the document."""
        (self.folder / self.tenant.org / "default.json").write_text(json.dumps({**self.document, **changes}))

    def certificates(self, *certificates: str) -> None:
        """Let Adobe have these certificates."""
        clients = self.ims.sandbox.state.clients
        client = clients.find(self.tenant.client_id)
        assert client is not None
        clients.put(dataclasses.replace(client, certificates=certificates))

    def upload(self, certificate: str) -> None:
        """Add a certificate at Adobe, next to the one that is there."""
        self.certificates(self.tenant.key.certificate, certificate)

    async def vends(self) -> bool:
        """Whether a broker that reads the document now gets a token."""
        credential = await self.tools.store.fetch(self.ref)
        return bool((await self.tools.canary.accepted(credential)).token.value)

    async def has_state(self) -> bool:
        """Whether an unfinished rotation is written down."""
        return await self.tools.documents.read(certificate_rotation_path(self.ref)) is not None

    def rotation(
        self, deadline: Deadline | None = None, heard: Callable[[str], None] = lambda _step: None
    ) -> CertificateRotation:
        """A rotation, which `deadline` may end."""
        ports: list[Any] = [self.tools.documents, self.tools.store, self.tools.canary]
        if deadline is not None:
            ports = [Mortal(port, deadline) for port in ports]
        documents, store, canary = ports
        return CertificateRotation(documents, store, canary, certificate_facts, time.time, heard)

    async def rotate(self, deadline: Deadline | None = None, pair: SigningPair | None = None) -> CertificateReplaced:
        """Rotate to the end, as the command does, with a person who uploads what is asked for."""
        rotation = self.rotation(deadline)
        outcome = await rotation.advance(self.ref, lambda: pair or new_pair())
        if isinstance(outcome, AwaitingUpload):
            self.upload(outcome.certificate)
            outcome = await rotation.advance(self.ref, lambda: pair or new_pair())
        assert isinstance(outcome, CertificateReplaced)
        await rotation.finish(self.ref)
        return outcome


def new_pair(days_old: int = 0) -> SigningPair:
    """A pair that no one has seen, valid for a year from `days_old` days ago."""
    pair = new_key_pair("tenant", time.time() - 60 - days_old * 86400)
    return SigningPair(pair.private_key, pair.certificate)


@asynccontextmanager
async def certificate_tenant(ims: RunningSandbox, folder: Path, **fields: Any) -> AsyncIterator[CertificateTenant]:
    """A tenant in a directory of its own."""
    tenant = Tenant(ims.base_url, **{"kind": "jwt", **fields})
    ims.sandbox.state.clients.put(client_from(tenant.client()))
    (folder / tenant.org).mkdir(parents=True)
    (folder / tenant.org / "default.json").write_text(json.dumps(tenant.document()))
    settings = read_minting_settings(
        {
            "BROKER_CREDENTIAL_STORE": "directory",
            "BROKER_CREDENTIAL_DIR": str(folder),
            "BROKER_IMS_BASE_URLS": ims.base_url,
        }
    )
    async with credential_tools(settings, RecordedEvents(), time.time) as tools:
        yield CertificateTenant(ims, tools, folder, tenant)
