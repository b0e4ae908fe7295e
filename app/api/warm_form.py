"""The warm path of forms: the whole form is the proof of the caller and the query."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.api.answers import Answer
from app.api.oauth2_client import form_digest, is_form
from app.api.warm import WarmPath
from app.api.warm_head import Headers
from app.domain.decision import Decision


@dataclass(frozen=True, slots=True)
class FormHead:
    """What a decision about a form depends on, besides its body.

    Args:
        warm: The warm path of its endpoint.
        query: The query as sent.
        authorizations: Its Authorization headers.

    """

    warm: WarmPath
    query: bytes
    authorizations: tuple[bytes, ...] = field(repr=False)

    def decide(self, body: bytes, request_id: str, now: float) -> tuple[Answer, Decision] | None:
        """See `app.api.warm_head.BodyHead`."""
        proof = form_digest(self.query, body, self.authorizations)
        decided = self.warm.decide(proof, proof, now)
        return None if decided is None else (decided.answer_to(request_id), decided.decision)


class WarmForm:
    """The warm path of an endpoint that takes forms.

    Args:
        warm: Decides.

    """

    def __init__(self, warm: WarmPath) -> None:
        self._warm = warm

    def head(self, query: bytes, headers: Headers) -> FormHead | None:
        """See `app.api.warm_head.WarmBody`."""
        if not is_form([value for name, value in headers if name == b"content-type"]):
            return None
        return FormHead(self._warm, query, tuple(value for name, value in headers if name == b"authorization"))
