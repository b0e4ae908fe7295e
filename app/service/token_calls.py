"""The calls in flight that obtain tokens, and the limits on them and on the requests that wait."""

from __future__ import annotations

from app.domain.names import TokenKey
from app.process.single_flight import SingleFlight
from app.service.shared_exchange import Obtained

MAX_CALLS = 2_000
"""The number of calls in flight in one replica; one more gets `overloaded`."""

MAX_CALLS_OF_ORG = 100
"""The number of those for one org: each set of scopes is another call, and a hanging org leaves the others theirs."""

MAX_WAITERS = 2_000
"""The number of requests that may wait for one token, so that a hanging tenant leaves capacity for the others."""


def token_calls() -> SingleFlight[TokenKey, Obtained]:
    """No calls yet, within these limits."""
    return SingleFlight(
        MAX_CALLS,
        MAX_WAITERS,
        name="token",
        too_many_calls="Too many tenants wait for a new token at once.",
        too_many_waiters="Too many requests wait for a token of this tenant.",
        group=lambda key: key.ref.org,
        group_limit=MAX_CALLS_OF_ORG,
        too_many_in_group="Too many different tokens of this tenant are requested at once.",
    )
