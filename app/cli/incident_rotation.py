"""What ``incident contain --rotate`` does about the secret or key with which a leaked token was made."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from app.cli.failure import CommandError
from app.cli.org_options import arguments_of
from app.cli.with_tools import with_tools

if TYPE_CHECKING:
    from app.bootstrap.credential_tools import CredentialTools
    from app.domain.names import CredentialRef
    from app.lifecycle.rotate_many import Outcome

_IN_PARALLEL = 4


@dataclass(frozen=True, slots=True)
class SecretReplacement:
    """What became of the secret or key of one credential.

    Args:
        status: Whether it is replaced, or a person must do it, or the replacement began and failed.
        reason: Why it is not replaced; empty if it is.
        commands: What to run by hand, in this order.

    """

    status: Literal["rotated", "by_hand", "failed"]
    reason: str = ""
    commands: tuple[str, ...] = ()


def replace_secrets(refs: Sequence[CredentialRef], console_url: str) -> Mapping[CredentialRef, SecretReplacement]:
    """Replace the secret of each credential through Adobe's API, now, or say how to do it by hand.

    Nothing is raised: what was contained before must be reported in any case.

    Args:
        refs: The credentials.
        console_url: Where Adobe's secrets API is.

    """

    async def work(tools: CredentialTools) -> dict[CredentialRef, SecretReplacement]:
        from app.domain.errors import BrokerError

        results: dict[CredentialRef, SecretReplacement] = {}
        for ref in refs:
            try:
                by_hand = await _by_hand(tools, ref)
            except BrokerError as error:
                by_hand = SecretReplacement("by_hand", error.detail, by_command(ref))
            if by_hand is not None:
                results[ref] = by_hand
        outcomes = await _rotated(tools, [ref for ref in refs if ref not in results], console_url)
        return results | {outcome.owner.ref: _of(outcome) for outcome in outcomes}

    try:
        return with_tools(work)
    except CommandError as error:
        return {ref: SecretReplacement("by_hand", error.format_message(), by_command(ref)) for ref in refs}


def by_command(ref: CredentialRef) -> tuple[str, ...]:
    """The command that replaces the secret of a credential."""
    return (f"ims-token-broker secret rotate {arguments_of(ref)} --now",)


async def _by_hand(tools: CredentialTools, ref: CredentialRef) -> SecretReplacement | None:
    """Why a person must replace it; None if the API can do it."""
    from app.domain.app_document import app_of
    from app.domain.secret_rotation_state import ConsoleIds
    from app.domain.stored_document import credential_path

    stored = await tools.documents.read(credential_path(ref))
    if stored is None:
        return SecretReplacement("by_hand", "Nothing is stored for it here.", by_command(ref))
    name = app_of(stored.content)
    if name is not None:
        commands = (f"ims-token-broker secret rotate --app {name} --prove-with {ref.org} --now",)
        return SecretReplacement("by_hand", f"Its secret is that of the app {name}, which other orgs share.", commands)
    if stored.content.get("kind") == "jwt":
        reason = "It signs with a key, and a person must upload the new certificate in Adobe's console."
        return SecretReplacement("by_hand", reason, (f"ims-token-broker cert rotate {arguments_of(ref)}",))
    if ConsoleIds.of(stored.content) is None:
        reason = "Its document has no console_org_id and console_credential_id. Add a secret in Adobe's console first."
        rotate = f"ims-token-broker secret rotate {arguments_of(ref)}"
        return SecretReplacement("by_hand", reason, (f"{rotate} --new-secret-file -", f"{rotate} --finish"))
    return None


async def _rotated(tools: CredentialTools, refs: Sequence[CredentialRef], console_url: str) -> list[Outcome]:
    from app.domain.secret_owner import SecretOwner
    from app.lifecycle.rotate_many import rotate_many
    from app.lifecycle.rotation_progress import RotationRules
    from app.lifecycle.secret_rotation import SecretRotation

    owners = [SecretOwner(ref) for ref in refs]
    async with tools.secrets_api(console_url) as api:
        rules = RotationRules(at_once=True)
        rotation = SecretRotation(tools.documents, tools.canary, api, time.time, secrets.token_hex(8), rules)
        return await rotate_many(owners, rotation.advance, lambda _: None, time.time, parallel=_IN_PARALLEL, wait=False)


def _of(outcome: Outcome) -> SecretReplacement:
    from app.lifecycle.rotate_many import Failed
    from app.lifecycle.rotation_progress import Rotated, Waiting

    match outcome:
        case Rotated():
            return SecretReplacement("rotated")
        case Failed():
            return SecretReplacement("failed", outcome.error.detail, by_command(outcome.owner.ref))
        case Waiting():
            return SecretReplacement("failed", f"It has to wait: {outcome.reason}.", by_command(outcome.owner.ref))
        case _:
            return SecretReplacement("failed", "It was not begun.", by_command(outcome.owner.ref))
