"""Runs the work of a command that reads or changes credentials, with the BROKER_ variables of ``serve``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from app.cli.failure import FAILED, USAGE, CommandError
from app.cli.operator_words import operator_sentence
from app.cli.preflight import check_credential_dir

if TYPE_CHECKING:
    from app.bootstrap.credential_tools import CredentialTools
    from app.domain.events import Event
    from app.settings.settings import MintingSettings

T = TypeVar("T")


class _Unheard:
    """Takes events and drops them: a command says itself what happens."""

    def emit(self, event: Event) -> None:
        """Drop it."""


def with_tools(work: Callable[[CredentialTools], Awaitable[T]]) -> T:
    """The result of `work`, which gets the tools.

    Raises:
        CommandError: A variable is wrong, or names what is not there (`USAGE`), or the work failed (`FAILED`).

    """
    from app.domain.errors import BrokerError
    from app.process.regular_file import FileError
    from app.settings.setting_errors import SettingsError
    from app.settings.settings import read_minting_settings

    try:
        settings = read_minting_settings()
        check_credential_dir(settings)
        return asyncio.run(_run(work, settings))
    except SettingsError as error:
        raise CommandError(str(error), USAGE) from None
    except FileError as error:
        raise CommandError(f"{error}.", USAGE) from None
    except BrokerError as error:
        raise CommandError(operator_sentence(error), FAILED) from None


async def _run(work: Callable[[CredentialTools], Awaitable[T]], settings: MintingSettings) -> T:
    from app.bootstrap.credential_tools import credential_tools

    async with credential_tools(settings, _Unheard(), time.time) as tools:
        return await work(tools)
