"""The refusals of IMS."""

from __future__ import annotations


class ImsRefusal(Exception):  # noqa: N818  # it is an answer, not an error of the sandbox
    """A refusal with the status, ``error`` and ``error_description`` that IMS sends."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.description = description

    def body(self) -> dict[str, str]:
        """The JSON body."""
        return {"error": self.error, "error_description": self.description}
