"""What became of a mutant."""

from __future__ import annotations

import signal
from enum import Enum


class Outcome(Enum):
    """The outcomes, and the exit codes by which mutmut knows them."""

    KILLED = "killed"
    SURVIVED = "survived"
    UNREACHED = "unreached"  # no test calls its function
    LOOPED = "looped"  # used several times the CPU time of its tests
    WAITED = "waited"  # waited for something that never came
    BROKE = "broke"  # ended in another way; not counted as killed

    @property
    def exit_code(self) -> int:
        """As in mutmut's files."""
        return _EXIT_CODES[self]

    @property
    def detected(self) -> bool:
        """Whether the tests noticed the mutant."""
        return self in {Outcome.KILLED, Outcome.LOOPED, Outcome.WAITED}

    @classmethod
    def of(cls, exit_code: int) -> Outcome:
        """The outcome of a child that ended with `exit_code`, negative for a signal."""
        if exit_code == -signal.SIGKILL:
            return cls.LOOPED  # a second after SIGXCPU
        return next((outcome for outcome, code in _EXIT_CODES.items() if code == exit_code), cls.BROKE)


_EXIT_CODES = {
    Outcome.KILLED: 1,
    Outcome.SURVIVED: 0,
    Outcome.UNREACHED: 33,
    Outcome.LOOPED: -signal.SIGXCPU,
    Outcome.WAITED: 36,
    Outcome.BROKE: 35,
}
