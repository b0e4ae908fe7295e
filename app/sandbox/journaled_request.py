"""A request on its way through the sandbox: what the journal says about it, and the fault that strikes it."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from app.sandbox.faults import Fault
from app.sandbox.state import SandboxState


@dataclass(frozen=True, slots=True)
class JournaledRequest:
    """An exchange, or a call of an Adobe API.

    Args:
        endpoint: Its name in the journal.
        client_id: The client that it names, if the sandbox has it.
        org: The org, if known.
        debug_id: The ``X-Debug-Id`` of its answer.
        fault: The fault that strikes it, or None.

    """

    endpoint: str
    client_id: str | None
    org: str | None
    debug_id: str
    fault: Fault | None

    def note(self, state: SandboxState, outcome: str, token_sha256: str | None = None) -> None:
        """Add it to the journal with this outcome."""
        state.journal.add(
            state.clock(),
            self.endpoint,
            self.client_id,
            self.org,
            outcome,
            fault=self.fault.kind.value if self.fault else None,
            token_sha256=token_sha256,
            debug_id=self.debug_id,
        )


def received(
    state: SandboxState, request: Request, endpoint: str, client_id: str | None = None, org: str | None = None
) -> JournaledRequest:
    """Take the fault that strikes this request, if there is one."""
    fault = state.faults.take(client_id, org, request.url.path)
    return JournaledRequest(endpoint, client_id, org, request.state.debug_id, fault)
