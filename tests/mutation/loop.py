"""A plugin of pytest that collects the tests once, and runs for each mutant those that reach it, in a forked child.

`mutmut run` starts pytest again for each mutant, which costs more than most tests here, and stops a mutant by the
time on the wall, so that a busy machine makes mutants look like endless loops. The mutants are those of mutmut.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import threading
import time
from collections import defaultdict
from pathlib import Path

import pytest
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state
from mutmut.utils.format_utils import mangled_name_from_mutant_name

from tests.mutation.outcome import Outcome

SPARE_CPU_SECONDS, CPU_FACTOR = 5, 5
"""A mutant may use this many seconds of CPU time, and this many times what its tests use without it."""

IDLE_SECONDS, LOOKS, BUSY_SECONDS = 6.0, 60, 0.1
"""A mutant waits in vain if it used less than this CPU time in so many seconds, looked at so many times."""


class MutantLoop:
    """Runs the mutants instead of the tests.

    Args:
        names: The mutants, as mutmut names them.
        results: The file to which a line is added for each mutant: its name and its `Outcome`.
        at_once: The number of children.

    """

    def __init__(self, names: list[str], results: Path, at_once: int) -> None:
        self._names = names
        self._results = results
        self._at_once = at_once
        self._failed = False
        self._running: dict[int, str] = {}
        self._seconds: dict[str, float] = {}
        self._reaching: defaultdict[str, list[pytest.Item]] = defaultdict(list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notice a failure."""
        self._failed = self._failed or report.failed

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests once without a mutant, then each mutant."""
        self._record(session.items)
        gc.collect()
        gc.freeze()
        for name in self._names:
            if not self._reaching[mangled_name_from_mutant_name(name)]:
                self._note(name, Outcome.UNREACHED)
                continue
            while len(self._running) >= self._at_once:
                self._reap()
            self._start(name)
        while self._running:
            self._reap()
        return True

    def _record(self, items: list[pytest.Item]) -> None:
        set_mutant_under_test("stats")
        hits = state()._stats
        for item in items:
            hits.clear()
            began = time.process_time()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            if self._failed:
                pytest.exit(f"{item.nodeid} fails without a mutant.", returncode=1)
            self._seconds[item.nodeid] = time.process_time() - began
            for function in hits:
                self._reaching[function].append(item)
        set_mutant_under_test("")

    def _start(self, name: str) -> None:
        function = mangled_name_from_mutant_name(name)
        own = f"test_{function.split('.x')[0].rpartition('.')[2]}.py"
        items = sorted(self._reaching[function], key=lambda item: (item.path.name != own, self._seconds[item.nodeid]))
        if (pid := os.fork()) == 0:
            self._try(name, items)
        self._running[pid] = name

    def _try(self, name: str, items: list[pytest.Item]) -> None:
        """The child: it never returns."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        limit = int(time.process_time() + SPARE_CPU_SECONDS + CPU_FACTOR * sum(self._seconds[i.nodeid] for i in items))
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
        threading.Thread(target=_end_if_idle, daemon=True).start()
        set_mutant_under_test(name)
        try:
            for item in items:
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
                if self._failed:
                    os._exit(Outcome.KILLED.exit_code)
            os._exit(Outcome.SURVIVED.exit_code)
        except BaseException:  # noqa: BLE001 — a child must never come back into the parent's loop
            os._exit(Outcome.KILLED.exit_code)

    def _reap(self) -> None:
        pid, status = os.wait()
        name = self._running.pop(pid, None)
        if name is not None:
            self._note(name, Outcome.of(os.waitstatus_to_exitcode(status)))

    def _note(self, name: str, outcome: Outcome) -> None:
        with self._results.open("a") as file:
            file.write(json.dumps([name, outcome.value]) + "\n")


def _end_if_idle() -> None:
    """End the process if it waits for what never comes.

    It looks often: where others use the processor, this thread gets it as rarely as the tests do, so that they are
    not taken for idle.
    """
    never = threading.Event()
    while True:
        used = time.process_time()
        for _ in range(LOOKS):
            never.wait(IDLE_SECONDS / LOOKS)
        if time.process_time() - used < BUSY_SECONDS:
            os._exit(Outcome.WAITED.exit_code)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare how the mutants are passed."""
    parser.addoption("--mutants", type=Path, required=True, help="a JSON list of their names")
    parser.addoption("--mutant-results", type=Path, required=True, help="where to write a line for each")
    parser.addoption("--mutants-at-once", type=int, default=1, help="how many to run at once")


def pytest_configure(config: pytest.Config) -> None:
    """Put the loop over mutants in the place of the loop over tests."""
    names = json.loads(config.getoption("--mutants").read_text())
    loop = MutantLoop(names, config.getoption("--mutant-results"), config.getoption("--mutants-at-once"))
    config.pluginmanager.register(loop, "mutants")
