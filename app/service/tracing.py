"""What a tracer must know of the service that events do not say: what encloses what, and who waits for whom."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar

from app.domain.names import CredentialRef, TokenKey

Result = TypeVar("Result")


class Tracer(Protocol):
    """Draws spans around the long way. It never blocks, and raises nothing of its own."""

    def vend(self, ref: CredentialRef) -> AbstractContextManager[None]:
        """Encloses one request's search for a token of `ref`."""
        ...

    def flight(
        self, key: TokenKey, start: Callable[[], Coroutine[Any, Any, Result]], *, behind: bool
    ) -> Coroutine[Any, Any, Result]:
        """The flight `start()`, enclosed; it belongs to the request that begins it, unless it is `behind` an answer."""
        ...

    def joins(self, key: TokenKey) -> None:
        """Take note that the present request waits for a flight that another one began."""
        ...


class NoTracer:
    """Draws nothing."""

    def vend(self, ref: CredentialRef) -> AbstractContextManager[None]:  # noqa: ARG002  # the protocol's
        """See `Tracer`."""
        return nullcontext()

    def flight(
        self,
        key: TokenKey,  # noqa: ARG002  # the protocol's
        start: Callable[[], Coroutine[Any, Any, Result]],
        *,
        behind: bool,  # noqa: ARG002  # the protocol's
    ) -> Coroutine[Any, Any, Result]:
        """See `Tracer`."""
        return start()

    def joins(self, key: TokenKey) -> None:
        """See `Tracer`."""
