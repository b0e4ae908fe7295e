"""The error of an issuer's URL, files or keys."""


class IssuerError(Exception):
    """The URL or a file of an issuer gave nothing usable.

    Args:
        reason: The reason, as a constant text that never quotes what was read.

    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
