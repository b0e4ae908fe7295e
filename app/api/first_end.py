"""Which end of a request came first: its decision, or the discovery that its body is malformed.

The app decides about a GET from its head, while its body may still be arriving. The connection refuses a malformed body
as soon as it reads it. Both write into the ASGI scope's ``state``, so that the audit log says what the client got.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from starlette.types import Scope

State = MutableMapping[str, Any]
"""The ``state`` of an ASGI scope, which the app and the connection share."""

_END = "first_end"
_DECIDED, _MALFORMED = "decided", "malformed"


def state_of(scope: Scope) -> State:
    """The state of `scope`; servers without a lifespan may give none."""
    state: State = scope.setdefault("state", {})
    return state


def note_decided(state: State) -> None:
    """The event of the request is emitted now, and its answer follows."""
    state[_END] = _DECIDED


def note_malformed(state: State) -> None:
    """The connection refuses the request now."""
    state[_END] = _MALFORMED


def is_decided(state: State) -> bool:
    """Whether the event of the request was emitted, so that its answer is sent, or waits for a slow reader."""
    return state.get(_END) == _DECIDED


def is_malformed(state: State) -> bool:
    """Whether the connection has refused the request, so that any other answer is dropped."""
    return state.get(_END) == _MALFORMED
