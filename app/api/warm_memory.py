"""What the warm paths remember: the queries that the long path answered under the policy in force.

After a change of the policy there can be 100,000 of them that no request may find any more. To free them all stops the
event loop for 50 ms, so they are put aside at once, and freed in portions.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass

from typing_extensions import override

from app.api.caller_gate import Admission
from app.api.prepared import Prepared
from app.domain.decision import Decision
from app.domain.names import TokenKey
from app.domain.policy import Caller, Policy
from app.domain.rate_limit import Bucket
from app.process.fair_memory import FairMemory

MAX_TAUGHT_BYTES = 112 * 1024 * 1024
"""Memory for what callers asked for, of all endpoints."""

MAX_SPELLINGS = 16
"""Queries of one caller for one token. A query can be spelled in any number of ways, and clients use one or two."""

MAX_PREPARED = 1_000
"""Answers of one endpoint with a body, which is the same for a second. Each has a copy of its token."""

FREED_AT_ONCE = 20
"""Queries of an earlier policy that are freed when one is learned: about 0.05 ms."""

QUERY_BYTES, VENDED_BYTES = 350, 450
"""Bytes of memory that a query takes, and what a caller may have, besides their text (`make bench ARGS=memory`)."""


@dataclass(slots=True)
class Vended:
    """What a caller may have by the decision of the long path, and the answer prepared from it.

    It holds no token, and outlives many: only the answers of `MAX_PREPARED` have one.
    """

    caller: str
    api_key_sha256: str | None
    key: TokenKey
    bucket: Bucket | None
    queries: tuple[bytes, ...] = ()
    decision: Decision | None = None
    rest: str = ""
    seconds_left: int = -1
    prepared: Prepared | None = None

    def forget_answer(self) -> None:
        """Give the memory of the answer back."""
        self.seconds_left, self.prepared = -1, None


@dataclass(frozen=True, slots=True)
class Taught:
    """One query of a caller. All its queries for the same token share one `Vended`."""

    vended: Vended
    min_ttl: int


QueryKey = tuple[str, Caller, str | None, bytes]
"""Endpoint, caller, API key and query. The API key, because the audit line names the one of the request."""


class TaughtQueries(FairMemory[Caller, QueryKey, Taught]):
    """The queries that were answered under one policy.

    Args:
        limit: Bytes. Beyond it the caller with the most loses its oldest queries.

    """

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._vended: dict[tuple[str, Caller, str | None, TokenKey], Vended] = {}
        self._answered = defaultdict[str, deque[Vended]](deque)
        """Those that have an answer, by endpoint."""

    def vended(self, endpoint: str, admission: Admission, key: TokenKey) -> Vended | None:
        """What queries of this caller for this token share, if there are any."""
        return self._vended.get((endpoint, admission.caller, admission.api_key_sha256, key))

    def answered(self, endpoint: str, vended: Vended) -> None:
        """An answer is about to be prepared for `vended`, which has none: the oldest one is forgotten if need be."""
        answered = self._answered[endpoint]
        answered.append(vended)
        if len(answered) > MAX_PREPARED:
            answered.popleft().forget_answer()

    def forget_answers(self) -> None:
        """Give the memory of all answers back."""
        for answered in self._answered.values():
            for vended in answered:
                vended.forget_answer()
        self._answered.clear()

    def teach(self, place: QueryKey, vended: Vended, min_ttl: int) -> None:
        """Add a query for `vended`, which has not more than `MAX_SPELLINGS`."""
        endpoint, caller, sha256, query = place
        for oldest in vended.queries[: 1 - MAX_SPELLINGS]:
            self.drop(caller, (endpoint, caller, sha256, oldest))
        vended.queries = (*vended.queries, query)
        self._vended[endpoint, caller, sha256, vended.key] = vended
        size = QUERY_BYTES + len(query) + VENDED_BYTES + len(vended.rest)
        self.keep(caller, place, Taught(vended, min_ttl), size)

    @override
    def drop(self, owner: Caller, key: QueryKey) -> None:
        taught = self.get(key)
        super().drop(owner, key)
        if taught is not None:
            endpoint, caller, sha256, query = key
            vended = taught.vended
            vended.queries = tuple(other for other in vended.queries if other != query)
            if not vended.queries:
                del self._vended[endpoint, caller, sha256, vended.key]
                vended.forget_answer()  # It may be among those that have one for long.


class WarmMemory:
    """The queries that were answered under the policy in force. All warm paths share them.

    Decisions under an earlier policy are never found again, because `queries` is another object then. They would not
    be found in the old one either: a caller object belongs to one version of the policy.

    Args:
        limit: Bytes, of the queries in use and of those that are still to be freed.

    """

    def __init__(self, limit: int = MAX_TAUGHT_BYTES) -> None:
        self.queries = TaughtQueries(limit)
        """Those to look up, taught under the policy of the last `begin`."""
        self._limit = limit
        self._taught_under: Policy | None = None
        self._former: list[TaughtQueries] = []

    def begin(self, policy: Policy) -> None:
        """A query is about to be taught: forget what was taught under another policy, and free a portion of it.

        `FREED_AT_ONCE` old queries take more than the largest new one, so old and new together stay within the limit.
        """
        if self._taught_under is not policy:
            self.queries.forget_answers()
            self._former.append(self.queries)
            self.queries = TaughtQueries(self._limit)
            self._taught_under = policy
        if self._former:
            self._former[-1].drop_some(FREED_AT_ONCE)
            if not self._former[-1]:
                self._former.pop()
