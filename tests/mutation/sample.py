"""Which mutants are tried."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence


def sample(mutants: Mapping[str, Sequence[str]], size: int | None, seed: int) -> dict[str, list[str]]:
    """At most `size` mutants of each module, drawn at random, or all if `size` is None.

    A module's draw depends on the seed and on its own mutants only, so that a change elsewhere leaves it as it was.
    """
    return {
        module: list(names)
        if size is None or len(names) <= size
        else sorted(random.Random(f"{seed} {module}").sample(sorted(names), size))
        for module, names in mutants.items()
    }
