"""What can go wrong with an issuer's URL, its files or its keys."""


class IssuerError(Exception):
    """An issuer's URL or file gave nothing that can be used.

    Args:
        reason: Why, in constant words that hold nothing of what was read.

    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
