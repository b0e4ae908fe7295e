"""Changes the code in small ways, one at a time, and counts how many changes the unit tests detect: `make mutants`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping

from mutmut.configuration import config

from tests.mutation.equivalent import EQUIVALENT
from tests.mutation.mutated_tree import FOLDER, change, keep_outcomes, mutated_tree
from tests.mutation.outcome import Outcome
from tests.mutation.sample import sample
from tests.mutation.score import Score, Total

_COLUMNS = "{:44} {:>7} {:>6} {:>6} {:>9} {:>9}  {:>6}  {}"


def main() -> None:
    """Try a sample or all mutants, print a line per module and each survivor, and exit with 1 below the minimum."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", help="parts of the paths of modules, like service/mint (default: all)")
    parser.add_argument("--sample", default="25", help="mutants of each module, drawn at random, or `all`")
    parser.add_argument("--seed", type=int, default=0, help="selects the sample")
    parser.add_argument("--minimum", type=float, default=90.0, help="the score in percent that must be reached")
    parser.add_argument("--at-once", type=int, default=2, help="how many mutants run at once")
    parser.add_argument("--tests", nargs="+", help="run only these tests (default: those of pyproject.toml)")
    parser.add_argument("--only", nargs="+", help="try only these mutants, as `mutmut` names them")
    options = parser.parse_args()

    mutants = mutated_tree(options.modules)
    drawn = sample(mutants, None if options.sample == "all" else int(options.sample), options.seed)
    if options.only:
        drawn = {module: [name for name in names if name in options.only] for module, names in mutants.items()}
    tests = options.tests or config().pytest_add_cli_args_test_selection
    outcomes = _try([name for names in drawn.values() for name in names], tests, options.at_once)
    for module, names in drawn.items():
        keep_outcomes(module, {name: outcomes[name] for name in names})
    _report(mutants, drawn, outcomes)
    print(f"Sample: {options.sample} of each module, seed {options.seed}.")
    if Total([_score(mutants, drawn, outcomes, module) for module in mutants]).detected * 100 < options.minimum:
        sys.exit(f"Less than {options.minimum:g} % of the mutants are detected.")


def _try(names: list[str], tests: list[str], at_once: int) -> dict[str, Outcome]:
    listed, results = FOLDER / "tried.json", FOLDER / "results.jsonl"
    listed.write_text(json.dumps(names))
    results.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "--rootdir=.", *config().pytest_add_cli_args]
    command += ["-p", "tests.mutation.loop", f"--mutants={listed.name}", f"--mutant-results={results.name}"]
    command += [f"--mutants-at-once={at_once}", *tests]
    done = subprocess.run(command, cwd=FOLDER, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout)
    return {name: Outcome(outcome) for name, outcome in map(json.loads, results.read_text().splitlines())}


def _score(
    mutants: Mapping[str, list[str]], drawn: Mapping[str, list[str]], outcomes: Mapping[str, Outcome], module: str
) -> Score:
    counted = Counter(outcomes[name] for name in drawn[module] if not _equivalent(module, name, outcomes[name]))
    left_out = len(drawn[module]) - counted.total()
    return Score(module, len(mutants[module]) - left_out, counted)


def _equivalent(module: str, name: str, outcome: Outcome) -> bool:
    return not outcome.detected and (module, *change(module, name)) in EQUIVALENT


def _report(mutants: Mapping[str, list[str]], drawn: Mapping[str, list[str]], outcomes: Mapping[str, Outcome]) -> None:
    scores = [_score(mutants, drawn, outcomes, module) for module, names in mutants.items() if names]
    for score in scores:
        for name in drawn[score.module]:
            if not outcomes[name].detected and not _equivalent(score.module, name, outcomes[name]):
                removed, added = change(score.module, name)
                print(f"{name}: {outcomes[name].value}\n  - {removed}\n  + {added}")
    print(_COLUMNS.format("module", "mutants", "tried", "killed", "timed out", "survived", "score", "95 % interval"))
    for score in scores:
        _print_row(score.module, score.mutants, score.outcomes, score)
    total = Total(scores)
    counts: Counter[Outcome] = sum((score.outcomes for score in scores), Counter())
    _print_row("all, by their number of mutants", sum(score.mutants for score in scores), counts, total)


def _print_row(name: str, mutants: int, counts: Counter[Outcome], score: Score | Total) -> None:
    timed_out = counts[Outcome.LOOPED] + counts[Outcome.WAITED]
    survived = counts.total() - timed_out - counts[Outcome.KILLED]
    low, high = (f"{100 * share:.0f}" for share in score.interval)
    interval = "exact" if counts.total() == mutants else f"{low} to {high}"
    share = f"{100 * score.detected:.1f} %"
    print(_COLUMNS.format(name, mutants, counts.total(), counts[Outcome.KILLED], timed_out, survived, share, interval))


if __name__ == "__main__":
    main()
