"""The login at Redis. A password in a file is read for each new connection, so that it can be changed at any time.

Open connections keep their login, as Redis does: a new password needs no restart and closes no connection.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError
from typing_extensions import override

from app.process.own_threads import OwnThreads, ThreadsBusyError, ThreadsClosedError
from app.process.regular_file import FileError, read_text

MAX_PASSWORD_BYTES = 4096
_WAITING = 200
"""Reads that may wait for the thread; more than there can be connections."""


class UnusablePasswordError(AuthenticationError):
    """There is no password to log in with at present, because its file cannot be used."""


class PasswordFileError(ValueError):
    """A password file cannot be used; the text never has a part of it."""


@dataclass(frozen=True, slots=True)
class RedisLogin:
    """A user and a password. Without any of them it is false, and there is no login.

    Args:
        user: The user; None for Redis' default user.
        password: The password.
        password_file: A file with the password, instead; a newline at its end is not a part of it.

    """

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    password_file: Path | None = None

    def __bool__(self) -> bool:
        return bool(self.user or self.password or self.password_file)


def read_password(file: Path) -> str:
    """The current password in `file`.

    Raises:
        PasswordFileError: It cannot be read, is not a regular file, is empty, is too large, or is not UTF-8 text.

    """
    try:
        return read_text(file, MAX_PASSWORD_BYTES)
    except FileError as error:
        raise PasswordFileError(error.reason) from None


class LoginProvider(CredentialProvider):
    """What redis-py asks for the login of each new connection.

    Args:
        login: The user and password.

    """

    def __init__(self, login: RedisLogin) -> None:
        self._login = login
        # Each new connection reads the file once; the deadline is that of the call that connects.
        self._threads = OwnThreads("redis-password", threads=1, waiting=_WAITING)

    @property
    def are_needed(self) -> bool:
        """Whether there is a login at all."""
        return bool(self._login)

    @override
    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        file = self._login.password_file
        try:
            password = self._login.password or "" if file is None else read_password(file)
        except PasswordFileError:
            raise UnusablePasswordError("the password file cannot be used") from None
        return (password,) if self._login.user is None else (self._login.user, password)

    @override
    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        if self._login.password_file is None:
            return self.get_credentials()
        try:
            return await self._threads.run(self.get_credentials)
        except (ThreadsBusyError, ThreadsClosedError):
            raise UnusablePasswordError("the password file cannot be read at present") from None

    def close(self) -> None:
        """Let the reading thread end; a read that hangs is not waited for."""
        self._threads.close()
