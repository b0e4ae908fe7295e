"""The tracer when tracing is off."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from app.domain.names import CredentialRef, TokenKey
from app.ports import Result


class NoTracer:
    """Draws nothing."""

    def vend(self, ref: CredentialRef) -> AbstractContextManager[None]:  # noqa: ARG002  # the protocol's
        """See `app.ports.Tracer`."""
        return nullcontext()

    def call(
        self,
        key: TokenKey,  # noqa: ARG002  # the protocol's
        start: Callable[[], Coroutine[Any, Any, Result]],
        *,
        in_background: bool,  # noqa: ARG002  # the protocol's
    ) -> Coroutine[Any, Any, Result]:
        """See `app.ports.Tracer`."""
        return start()

    def joins(self, key: TokenKey) -> None:
        """See `app.ports.Tracer`."""
