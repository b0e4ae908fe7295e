"""The written record of a rotation: what the next run needs if this one is killed."""

from __future__ import annotations

from app.domain.secret_owner import SecretOwner
from app.domain.secret_rotation_state import RotationState, RotationStep
from app.domain.stored_document import Version
from app.lifecycle.replace import replace
from app.ports import Clock, DocumentStore


class RotationRecord:
    """The state of one rotation, in the credential store.

    Each change is check-and-set: of two runs for the same secrets, one stops at its next step.

    Args:
        documents: The documents.
        owner: Whose secrets are rotated.
        run: A name of this run that no other run has.
        clock: Unix time in seconds.

    """

    def __init__(self, documents: DocumentStore, owner: SecretOwner, run: str, clock: Clock) -> None:
        self._documents = documents
        self._path = owner.state_path
        self._run = run
        self._clock = clock
        self._state: RotationState | None = None
        self._version: Version | None = None
        self._is_resumed = False

    @property
    def is_resumed(self) -> bool:
        """Whether another run began the rotation."""
        return self._is_resumed

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
        """Continue a rotation that an earlier run began; that run stops at its next step. An own one stays as it is."""
        if self.state.run == self._run:
            return
        self._is_resumed = True
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
        self._version = await replace(self._documents, self._path, self.state.document(), self._version)
