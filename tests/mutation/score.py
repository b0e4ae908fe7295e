"""How many mutants the tests detect, of one module or of all."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.mutation.outcome import Outcome

Z = 1.96
"""For intervals that contain the true value in 95 of 100 samples."""


@dataclass(frozen=True)
class Score:
    """The result of a module.

    Args:
        module: Its path.
        mutants: How many mutants it has.
        outcomes: How often each outcome occurred among those that were tried, without equivalent ones.

    """

    module: str
    mutants: int
    outcomes: Counter[Outcome]

    @property
    def tried(self) -> int:
        """How many mutants were tried."""
        return self.outcomes.total()

    @property
    def detected(self) -> float:
        """The detected share of those that were tried, 1 if there are none."""
        return sum(self.outcomes[o] for o in Outcome if o.detected) / self.tried if self.tried else 1.0

    @property
    def interval(self) -> tuple[float, float]:
        """Where the share of all mutants is, by Wilson's formula; a point if all were tried."""
        n, p = self.tried, self.detected
        if n == 0 or n == self.mutants:
            return p, p
        # Drawn without replacement: the larger the drawn part, the less is unknown.
        z2 = Z**2 * (self.mutants - n) / (self.mutants - 1)
        middle, half = p + z2 / (2 * n), math.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n**2)))
        return (middle - half) / (1 + z2 / n), (middle + half) / (1 + z2 / n)


@dataclass(frozen=True)
class Total:
    """The result of several modules: each counts by its number of mutants, however many of them were tried."""

    scores: Sequence[Score]

    @property
    def detected(self) -> float:
        """The estimated share of all their mutants that the tests detect."""
        counted = [score for score in self.scores if score.tried]
        mutants = sum(score.mutants for score in counted)
        return sum(score.detected * score.mutants for score in counted) / mutants if mutants else 1.0

    @property
    def interval(self) -> tuple[float, float]:
        """Where that share is: the modules' intervals are independent, so their squares add up."""
        counted = [score for score in self.scores if score.tried]
        mutants = sum(score.mutants for score in counted) or 1
        down, up = (
            math.sqrt(sum((s.mutants * (s.detected - s.interval[end])) ** 2 for s in counted)) / mutants
            for end in (0, 1)
        )
        return self.detected - down, self.detected + up
