"""Replaces a client secret: a second one is added, proven, written and used before the old one is deleted.

The order of steps, each written down before the next begins, so that the next run finishes what was killed:

1. ``adding``: ask Adobe for a second secret. Adobe shows its value once. If that is lost, the secret was never used,
   and the next run deletes it and asks again.
2. ``added``: exchange with the new secret, and write the document with both, the new one first.
3. ``written``: wait until no one has used the old one for a while, exchange with the new one, and write the document
   with the new one alone.
4. ``retiring``: exchange with what is stored, and delete the old one at Adobe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import assert_never

from app.domain.rfc3339 import rfc3339
from app.domain.secret_owner import SecretOwner
from app.domain.secret_rotation_state import (
    MOST_SECRETS,
    ConsoleAccess,
    ConsoleIds,
    ListedSecret,
    NewSecret,
    RotationError,
    RotationStep,
)
from app.domain.stored_document import StoredDocument
from app.lifecycle.canary import Canary
from app.lifecycle.owned_secrets import OwnedSecrets, open_secrets
from app.lifecycle.rotation_progress import NotDue, Progress, Rotated, RotationRules, Waiting
from app.lifecycle.rotation_record import RotationRecord
from app.lifecycle.stored_secrets import is_digest_of, secret_digest, secrets_of, with_secrets
from app.ports import ClientSecrets, Clock, DocumentStore


class SecretRotation:
    """Rotates the client secret of one owner at a time; safe to run for several at once.

    Args:
        documents: The documents.
        canary: Makes real exchanges.
        secrets: Adobe's secrets API.
        clock: Unix time in seconds.
        run: A name of this run that no other run has.
        rules: When to begin and to delete.
        sleep: Waits for some seconds.

    """

    def __init__(
        self,
        documents: DocumentStore,
        canary: Canary,
        secrets: ClientSecrets,
        clock: Clock,
        run: str,
        rules: RotationRules,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._documents = documents
        self._canary = canary
        self._secrets = secrets
        self._clock = clock
        self._run = run
        self._rules = rules
        self._sleep = sleep

    async def advance(self, owner: SecretOwner, ids: ConsoleIds | None = None) -> Progress:
        """Begin or continue a rotation, as far as it goes without waiting for the old secret to be quiet.

        Args:
            owner: Whose secret it is.
            ids: The credential's numbers at the console, if they are not in its document.

        Raises:
            RotationError: It cannot begin or go on.
            DocumentChangedError: Someone else works on the same secret.
            TenantError: The credential does not work.
            DependencyError: The credential store, IMS or Adobe's secrets API does not answer.

        """
        rotation = await self._open(owner, ids)
        if await rotation.record.is_running():
            await rotation.record.take_over()
        else:
            not_due = await self._begin(rotation)
            if not_due is not None:
                return not_due
        return await self._go_on(rotation)

    async def _open(self, owner: SecretOwner, ids: ConsoleIds | None) -> _Rotation:
        secrets = await open_secrets(self._documents, self._canary, owner)
        stored = await secrets.read()
        numbers = ids or ConsoleIds.of(stored.content)
        if numbers is None:
            raise RotationError(
                "The document has no console_org_id and console_credential_id, which Adobe's secrets API needs: give"
                " --console-org and --console-credential, or rotate by hand with --new-secret-file."
            )
        proof = await self._canary.accepted(secrets.parsed(stored.content))
        access = ConsoleAccess(numbers, proof.credential.client_id, proof.token.value)
        return _Rotation(owner, secrets, access, RotationRecord(self._documents, owner, self._run, self._clock))

    async def _go_on(self, rotation: _Rotation) -> Progress:
        while True:
            match rotation.record.state.step:
                case RotationStep.ADDING:
                    await self._add(rotation)
                case RotationStep.ADDED:
                    await self._write(rotation)
                case RotationStep.WRITTEN:
                    waiting = await self._wait_reason(rotation)
                    if waiting is not None:
                        return waiting
                    await self._retire(rotation)
                case RotationStep.RETIRING:
                    return await self._delete(rotation)
                case other:
                    assert_never(other)

    async def _begin(self, rotation: _Rotation) -> NotDue | None:
        """Write down that a rotation begins; or say that it is too early."""
        records = await self._secrets.listed(rotation.access)
        if len(records) >= MOST_SECRETS:
            raise RotationError(_two_secrets(records))
        if not records:
            raise RotationError("Adobe shows no secret of this credential; compare the console ids with the document.")
        age = self._clock() - records[0].created_at
        if age < self._rules.older_than:
            return NotDue(rotation.owner, records[0].created_at)
        await rotation.record.begin(records[0].uuid)
        return None

    async def _add(self, rotation: _Rotation) -> None:
        """Ask for a second secret. One that an earlier run asked for without learning its value is deleted first."""
        state = rotation.record.state
        for record in await self._secrets.listed(rotation.access):
            if record.uuid == state.old:
                continue
            # A run that began the rotation itself has not asked yet, so this secret is not its own.
            is_lost = rotation.record.is_resumed and record.last_used_at is None
            if not is_lost or record.created_at < state.since - _CLOCK_SKEW:
                raise RotationError(
                    "Someone else added a secret while this rotation began. Delete the one that is not used in the"
                    " Adobe Developer Console, and run the command again."
                )
            await self._secrets.delete(rotation.access, record.uuid)
        added = await self._secrets.add(rotation.access)
        await rotation.record.reach(
            RotationStep.ADDED, new=added.uuid, value=added.value, digest=secret_digest(added.value)
        )

    async def _write(self, rotation: _Rotation) -> None:
        """Prove the new secret, and write it in front of the old one."""
        state = rotation.record.state
        new = NewSecret(str(state.new), str(state.value))
        stored = await rotation.secrets.read()
        if not is_digest_of(state.digest, secrets_of(stored)[:1]):
            credential = rotation.secrets.parsed(with_secrets(stored, [new.value]))
            await self._canary.until_accepted(credential, self._sleep)
            old = await self._canary.accepted(rotation.secrets.parsed(stored.content))
            kept = old.credential.client_secrets[old.number]
            await rotation.secrets.write(with_secrets(stored, [new.value, kept]), stored)
        await rotation.record.reach(RotationStep.WRITTEN, value=None)

    async def _wait_reason(self, rotation: _Rotation) -> Waiting | None:
        """Why the old secret must not be deleted yet; None if it may be."""
        state, now = rotation.record.state, self._clock()
        records = {record.uuid: record for record in await self._secrets.listed(rotation.access)}
        new, old = records.get(str(state.new)), records.get(state.old)
        if new is None:
            raise RotationError(
                "The new secret was deleted at Adobe. The document still has the old one, which is used. Forget this"
                " rotation with --discard, and begin again."
            )
        if old is None or self._rules.at_once:
            return None
        if new.last_used_at is None:
            # The canary has used it: until Adobe shows that, its record of the old one is not current either.
            return Waiting(
                rotation.owner, now + self._rules.poll, "Adobe does not show yet that the new secret is used"
            )
        quiet_since = max(state.since, old.last_used_at or 0.0)
        if now < quiet_since + self._rules.quiet_for:
            reason = f"the old secret was in use until {rfc3339(quiet_since)}"
            return Waiting(rotation.owner, quiet_since + self._rules.quiet_for, reason)
        return None

    async def _retire(self, rotation: _Rotation) -> None:
        """Prove the new secret once more, and write it alone."""
        stored = await rotation.secrets.read()
        new = self._new_secret(rotation, stored)
        content = with_secrets(stored, [new])
        await self._canary.prove(rotation.secrets.parsed(content))
        if secrets_of(stored) != (new,):
            await rotation.secrets.write(content, stored)
        await rotation.record.reach(RotationStep.RETIRING)

    async def _delete(self, rotation: _Rotation) -> Rotated:
        """Delete the old secret, after one more exchange with what is stored."""
        state = rotation.record.state
        stored = await rotation.secrets.read()
        if secrets_of(stored) != (self._new_secret(rotation, stored),):
            raise RotationError(_CHANGED)
        await self._canary.prove(rotation.secrets.parsed(stored.content))
        await self._secrets.delete(rotation.access, state.old)
        await rotation.record.forget()
        return Rotated(rotation.owner, str(state.new), state.old)

    def _new_secret(self, rotation: _Rotation, stored: StoredDocument) -> str:
        secrets = secrets_of(stored)
        if not is_digest_of(rotation.record.state.digest, secrets[:1]):
            raise RotationError(_CHANGED)
        return secrets[0]


_CHANGED = (
    "The document was changed during the rotation: its first secret is not the new one any more. Nothing was deleted."
    " Compare the document with the Adobe Developer Console, then discard the rotation with --discard."
)

_CLOCK_SKEW = 300.0
"""Seconds by which Adobe's clock may differ from this machine's."""


@dataclass(frozen=True, slots=True)
class _Rotation:
    """One rotation in progress."""

    owner: SecretOwner
    secrets: OwnedSecrets
    access: ConsoleAccess
    record: RotationRecord


def _two_secrets(records: tuple[ListedSecret, ...]) -> str:
    uses = " and ".join(
        "never used" if record.last_used_at is None else f"last used {rfc3339(record.last_used_at)}"
        for record in records
    )
    return (
        f"Adobe has two secrets of this credential already ({uses}), and a third is not possible. Delete the one that"
        " is not used in the Adobe Developer Console, and run the command again."
    )
