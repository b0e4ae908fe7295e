"""The written record of a rotation: what the next run needs if this one is killed."""

from __future__ import annotations

from app.domain.names import CredentialRef
from app.domain.secret_rotation_state import RotationState, RotationStep
from app.domain.stored_document import Version, rotation_path
from app.ports import Clock, DocumentStore


class RotationRecord:
    """The state of one rotation, in the credential store.

    Each change is check-and-set: of two runs for the same credential, one stops at its next step.

    Args:
        documents: The documents.
        ref: The credential.
        run: A name of this run that no other run has.
        clock: Unix time in seconds.

    """

    def __init__(self, documents: DocumentStore, ref: CredentialRef, run: str, clock: Clock) -> None:
        self._documents = documents
        self._path = rotation_path(ref)
        self._run = run
        self._clock = clock
        self._state: RotationState | None = None
        self._version: Version | None = None

    @property
    def state(self) -> RotationState:
        """The state; there is one after `begin` or `is_running`."""
        assert self._state is not None  # noqa: S101  # see above
        return self._state

    async def is_running(self) -> bool:
        """Whether a rotation was begun and not finished.

        Raises:
            RotationError: Something else is stored there.

        """
        stored = await self._documents.read(self._path)
        if stored is None:
            return False
        self._state, self._version = RotationState.parsed(stored.content), stored.version
        return True

    async def begin(self, old: str) -> None:
        """Write down that a rotation begins.

        Raises:
            DocumentChangedError: Another run began one.

        """
        self._state = RotationState(RotationStep.ADDING, old, self._clock(), self._run)
        await self._save()

    async def take_over(self) -> None:
        """Continue a rotation that an earlier run began; that run stops at its next step."""
        self._state = self.state.owned_by(self._run)
        await self._save()

    async def reach(self, step: RotationStep, **changes: str | None) -> None:
        """Write down the next step.

        Raises:
            DocumentChangedError: Another run took over.

        """
        self._state = self.state.at(step, self._clock(), **changes)
        await self._save()

    async def forget(self) -> None:
        """Remove the record, with all its versions: one of them holds the new secret."""
        assert self._version is not None  # noqa: S101  # there is a state
        await self._documents.remove(self._path, self._version, destroy=True)

    async def _save(self) -> None:
        self._version = await self._documents.write(self._path, self.state.document(), self._version)
