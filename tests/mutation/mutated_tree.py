"""The copy of the code with all its mutants, as mutmut makes it in the folder `mutants`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from mutmut.__main__ import CatchOutput, create_mutants
from mutmut.configuration import config
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir, walk_mutatable_files

from tests.mutation.outcome import Outcome

FOLDER = Path("mutants")


def mutated_tree(parts: Sequence[str]) -> dict[str, list[str]]:
    """Make the copy, and return the names of the mutants by module (`app/…/x.py`); some modules have none.

    Args:
        parts: Only modules with one of these parts in their paths are changed; all modules if there are none.

    """
    modules = sorted(path.as_posix() for path in walk_mutatable_files())
    chosen = [module for module in modules if not parts or any(part in module for part in parts)]
    config().only_mutate = chosen
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    with CatchOutput():
        copy_src_dir()
        copy_also_copy_files()
        create_mutants(max_children=1)
    names: dict[str, list[str]] = {}
    for module in chosen:
        data = SourceFileMutationData(path=Path(module))
        data.load()
        names[module] = list(data.exit_code_by_key)
    return names


def keep_outcomes(module: str, outcomes: Mapping[str, Outcome]) -> None:
    """Write the outcomes where `mutmut results` and `mutmut browse` find them."""
    data = SourceFileMutationData(path=Path(module))
    data.load()
    data.exit_code_by_key.update({name: outcome.exit_code for name, outcome in outcomes.items()})
    data.save()


def change(module: str, name: str) -> tuple[str, str]:
    """The lines that a mutant removes and adds, without their indentation."""
    lines = get_diff_for_mutant(name, path=Path(module)).splitlines()
    removed, added = (
        " ".join(line[1:].strip() for line in lines if line.startswith(sign) and not line.startswith(sign * 3))
        for sign in "-+"
    )
    return removed, added
