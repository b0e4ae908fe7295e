"""What a caller can get instead of a token. No message contains a token, a key or the body of an answer."""

from __future__ import annotations


class TokenError(Exception):
    """There is no token. The message is one sentence for a person."""


class BrokerUnavailableError(TokenError):
    """No broker gave a usable answer in time.

    Args:
        message: What was found.
        retry_after: Seconds after which to ask again, if the broker said so.
        retryable: Whether asking again soon may help.

    """

    def __init__(self, message: str, *, retry_after: float | None = None, retryable: bool = True) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.retryable = retryable


class TokenRefusedError(TokenError):
    """The broker refused the request: asking again does not help until someone changes something.

    Args:
        message: What was found.
        status: The HTTP status.
        code: The broker's error code, for example ``forbidden``.
        request_id: Under which the broker's log has this request.

    """

    def __init__(self, message: str, *, status: int, code: str, request_id: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.request_id = request_id
