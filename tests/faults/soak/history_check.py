"""Checks a recorded history for the invariants I1 to I8. It knows the promises, and nothing of the code.

Where a fault makes a fact uncertain (a client whose link drips, a replica that stood still), the check uses the time
that is in favour of the broker.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from typing_extensions import override

from tests.faults.soak.disturbances import Disturbances
from tests.faults.soak.records import (
    AskedToken,
    Begun,
    Disturbed,
    Exchanged,
    Measured,
    PolicyChanged,
    PurgeAsked,
    RecordedHistory,
    SecretFound,
)
from tests.faults.soak.slopes import growing
from tests.support.invariants import LONGEST_REQUEST, Invariant

POLICY_SECONDS = 5.0
"""A policy change takes effect within this time (docs/contract.md section 4)."""

PURGE_SECONDS = 10.0
"""A purge has reached every replica after a time without faults of this length (2 s, and pauses of two breakers)."""

SETTLE_SECONDS = 12.0
"""After a time without faults of this length all requests succeed: pauses after failures last up to 5 s."""

SLACK_SECONDS = 1.0
"""For the clients and the machine, on which all of this runs at once."""

WINDOW_SECONDS = 10.0
MOST_EXCHANGES_OF_A_REPLICA = 12
"""Of one org in each window, whatever fails: two attempts at once, then with growing pauses, of callers and keeper."""


@dataclass(frozen=True)
class Violation:
    """A violated invariant, at a time of the run."""

    invariant: Invariant
    at: float
    text: str

    @override
    def __str__(self) -> str:
        return f"{self.invariant.name} at {self.at:.2f} s: {self.invariant.value}: {self.text}"


class HistoryCheck:
    """The check of one history.

    Args:
        history: The history.
        replicas: The number of replicas.

    """

    def __init__(self, history: RecordedHistory, replicas: int = 3) -> None:
        self._history = history
        self._replicas = replicas
        [self._run] = history.of(Begun)
        self._asked = sorted(history.of(AskedToken), key=lambda asked: asked.ended)
        self._faults = Disturbances(history.of(Disturbed))
        self._rights: dict[tuple[str, str], list[PolicyChanged]] = defaultdict(list)
        for change in history.of(PolicyChanged):
            self._rights[change.caller, change.org].append(change)
        self._purges: dict[str, list[PurgeAsked]] = defaultdict(list)
        for purge in history.of(PurgeAsked):
            self._purges[purge.org].append(purge)
        self.expected = 0
        """The requests that had to succeed, after `violations`."""

    def violations(self) -> list[Violation]:
        """All violations, in order of time."""
        checks: tuple[Callable[[], Iterator[Violation]], ...] = (
            self._owners,
            self._rights_kept,
            self._lives,
            self._exchanges,
            self._secrets,
            self._durations,
            self._growth,
            self._availability,
        )
        return sorted((found for check in checks for found in check()), key=lambda found: found.at)

    def summary(self) -> str:
        """What was checked, in numbers; after `violations`."""
        tokens = sum(asked.status == 200 for asked in self._asked)
        exchanges, purges = len(self._history.of(Exchanged)), len(self._history.of(PurgeAsked))
        return (
            f"{len(self._asked)} answers, {tokens} tokens, {self.expected} that had to succeed, "
            f"{exchanges} exchanges, {purges} purges, {len(self._history.of(Disturbed))} disturbances"
        )

    def _owners(self) -> Iterator[Violation]:
        for asked in self._vended():
            if asked.client_id != self._run.tenants[asked.org]:
                yield Violation(Invariant.I1, asked.ended, f"{asked.org} got a token of {asked.client_id}")

    def _rights_kept(self) -> Iterator[Violation]:
        for asked in self._vended():
            change = self._last_change(asked, asked.at)
            if asked.caller in self._run.forbidden:
                yield Violation(Invariant.I2, asked.ended, f"{asked.caller} got a token")
            elif change is not None and not change.allowed:
                had = self._faults.running_seconds(asked.replica, change.at, asked.at)
                if had > POLICY_SECONDS + SLACK_SECONDS:
                    text = f"{asked.caller} got a token of {asked.org} from replica {asked.replica}, {had:.1f} s after"
                    yield Violation(Invariant.I2, asked.ended, text)

    def _lives(self) -> Iterator[Violation]:
        for asked in self._vended():
            judged = asked.ended if self._is_reachable(asked) else asked.at
            if asked.expires_at <= judged:
                text = f"{asked.org} got a token that had expired {judged - asked.expires_at:.3f} s before"
                yield Violation(Invariant.I3, asked.ended, text)
            elif asked.expires_at - asked.at < asked.min_ttl:
                yield Violation(Invariant.I3, asked.ended, f"{asked.org} got less than {asked.min_ttl:.0f} s")
            for purge in self._purges[asked.org]:
                if asked.minted_at < purge.at and self._has_reached(purge, asked):
                    text = f"replica {asked.replica} answered a token of {asked.org} from before the purge at "
                    yield Violation(Invariant.I3, asked.ended, f"{text}{purge.at:.2f} s by replica {purge.replica}")

    def _has_reached(self, purge: PurgeAsked, asked: AskedToken) -> bool:
        """Whether a purge holds for a request: the same process took it, or all was quiet for long enough since."""
        if purge.status != 204 or asked.at < purge.ended:
            return False
        if not self._faults.is_same_process(purge.replica, purge.at, asked.at):
            return False  # a purge that Redis could not record ends with its process (app/ARCHITECTURE.md)
        if asked.replica == purge.replica:
            return True
        began = asked.at - PURGE_SECONDS
        path = [f"{part}-{replica}" for part in ("redis", "replica") for replica in (asked.replica, purge.replica)]
        return began >= purge.ended and self._faults.is_quiet(began, asked.at, ["redis", "redis-data", *path])

    def _exchanges(self) -> Iterator[Violation]:
        by_org: dict[str, list[float]] = defaultdict(list)
        for exchange in self._history.of(Exchanged):
            by_org[exchange.org].append(exchange.at)
        for org, times in by_org.items():
            times.sort()
            for first, at in enumerate(times):
                count = bisect_right(times, at + WINDOW_SECONDS) - first
                limit, why = self._most_exchanges(org, at)
                if count > limit:
                    text = f"{count} of {org} within {WINDOW_SECONDS:.0f} s, at most {limit} {why}"
                    yield Violation(Invariant.I4, at, text)
                    break

    def _most_exchanges(self, org: str, at: float) -> tuple[int, str]:
        life = self._run.lifetimes[org]
        began, ended = at - SETTLE_SECONDS, at + WINDOW_SECONDS
        purges = sum(began <= purge.at <= ended for purge in self._purges[org])
        reports = any(a.org == org and a.purpose == "report" for a in self._between(began, ended))
        impatient = any(a.org == org and a.min_ttl > 0 for a in self._between(at, ended))
        if self._faults.is_quiet(began, ended) and not purges and not reports and not impatient:
            return 1 + int(WINDOW_SECONDS / (0.45 * life)), "without a fault"
        return self._replicas * (MOST_EXCHANGES_OF_A_REPLICA + 2 * purges), "whatever fails"

    def _secrets(self) -> Iterator[Violation]:
        for found in self._history.of(SecretFound):
            yield Violation(Invariant.I5, 0.0, f"{found.secret} in {found.place}")

    def _durations(self) -> Iterator[Violation]:
        for asked in self._asked:
            taken = self._faults.running_seconds(asked.replica, asked.at, asked.ended)
            reachable = self._faults.is_quiet(asked.at, asked.ended, [f"clients-{asked.replica}"])
            if reachable and taken > LONGEST_REQUEST + SLACK_SECONDS:
                text = f"{asked.org} at replica {asked.replica} took {taken:.1f} s of its running time"
                yield Violation(Invariant.I6, asked.ended, text)

    def _growth(self) -> Iterator[Violation]:
        for text in growing(self._history.of(Measured)):
            yield Violation(Invariant.I7, 0.0, text)

    def _availability(self) -> Iterator[Violation]:
        warm: dict[tuple[int, str], AskedToken] = {}
        for asked in self._asked:
            why = self._must_succeed(asked, warm.get((asked.replica, asked.org)))
            self.expected += bool(why)
            if why and asked.status != 200:
                text = f"{asked.caller} got {asked.status} {asked.code} for {asked.org} at replica {asked.replica}"
                yield Violation(Invariant.I8, asked.ended, f"{text}, asked at {asked.at:.2f} s: {why}")
            if asked.status == 200:
                warm[asked.replica, asked.org] = asked

    def _must_succeed(self, asked: AskedToken, before: AskedToken | None) -> str:
        """Why a request had to succeed; empty if it could fail."""
        if not self._is_reachable(asked) or not self._is_allowed(asked):
            return ""
        if self._faults.is_quiet(asked.at - SETTLE_SECONDS, asked.ended):
            return "nothing had failed for some time"
        if asked.purpose != "vend" or self._purged(asked, asked.at - WINDOW_SECONDS):
            return ""
        upstream = ["vault", f"vault-{asked.replica}", "ims", "ims-link", f"tenant:{asked.org}"]
        if self._faults.is_quiet(asked.at - SETTLE_SECONDS, asked.ended, upstream):
            return "Vault and IMS worked"
        if before is not None and self._is_warm(asked, before):
            return f"the replica had answered a token at {before.ended:.2f} s"
        return ""

    def _is_warm(self, asked: AskedToken, before: AskedToken) -> bool:
        """Whether the replica has a token in memory that is good until the request ends."""
        margin = min(60.0, 0.025 * self._run.lifetimes[asked.org]) + SLACK_SECONDS
        return (
            asked.min_ttl == 0
            and before.ended <= asked.at
            and asked.ended + margin < before.expires_at
            and self._faults.is_same_process(asked.replica, before.at, asked.ended)
            # Also not before it was answered: the replica may learn later of a purge that Redis could not announce.
            and not self._purged(asked, before.minted_at)
            and self._know_all_purges(asked.org, before.minted_at)
        )

    def _know_all_purges(self, org: str, at: float) -> bool:
        """Whether each replica knew all earlier purges of an org: one that did not drops its token when it hears of it.

        A replica that starts while Redis is away or empty learns of earlier purges only when another one has written
        them back.
        """
        since = max((purge.ended for purge in self._purges[org] if purge.at <= at), default=None)
        if since is None:
            return True
        began = max(since, self._faults.last_loss(at))
        parts = [f"{part}-{replica}" for part in ("redis", "replica") for replica in range(self._replicas)]
        return self._faults.longest_quiet(began, at, ["redis", "redis-data", *parts]) >= PURGE_SECONDS

    def _is_reachable(self, asked: AskedToken) -> bool:
        """Whether the replica ran and the client's link worked while the client waited."""
        places = [f"replica-{asked.replica}", f"clients-{asked.replica}"]
        return self._faults.is_quiet(asked.at - SLACK_SECONDS, asked.ended, places)

    def _is_allowed(self, asked: AskedToken) -> bool:
        """Whether the caller was allowed all the time, and the replica knew it."""
        if asked.caller in self._run.forbidden:
            return False
        latest = self._last_change(asked, asked.ended)
        if latest is None:
            return True
        known = self._faults.running_seconds(asked.replica, latest.at, asked.at)
        return latest.allowed and known > POLICY_SECONDS + SLACK_SECONDS

    def _purged(self, asked: AskedToken, since: float) -> bool:
        return any(purge.ended >= since and purge.at <= asked.ended for purge in self._purges[asked.org])

    def _last_change(self, asked: AskedToken, at: float) -> PolicyChanged | None:
        changes = [change for change in self._rights[asked.caller, asked.org] if change.at <= at]
        return changes[-1] if changes else None

    def _vended(self) -> Iterator[AskedToken]:
        return (asked for asked in self._asked if asked.status == 200)

    def _between(self, began: float, ended: float) -> list[AskedToken]:
        first = bisect_left(self._asked, began, key=lambda asked: asked.ended)
        return self._asked[first : bisect_right(self._asked, ended, key=lambda asked: asked.ended)]
