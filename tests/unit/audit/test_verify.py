"""Verification of chained logs: every tampered line is found and named; what the log did itself is not a fault."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.audit_chain import Head, line_sha256
from tests.support.chained_log import FILE, ChainedLog, faults, log_line, names, verified

A, B = "a" * 16, "b" * 16
LENGTH = 8
LOG = ChainedLog(A).lines(LENGTH)
anywhere = st.integers(1, LENGTH)


def interleaved(order: list[bool]) -> list[bytes]:
    """The lines of two chains in a random order; each begins with its start."""
    chains = {True: ChainedLog(A), False: ChainedLog(B)}
    lines = []
    for which in order:
        chain = chains[which]
        lines.append(chain.write(version="v") if chain.head.seq else chain.start())
    return lines


def test_an_untouched_log_is_sound() -> None:
    """Nothing is found in an unchanged log, and its head is the last line's hash."""
    found, verifier = verified(LOG)
    [chain] = verifier.chains()
    assert found == []
    assert (chain.head, chain.lines, chain.ended) == (Head(A, LENGTH, line_sha256(LOG[-1])), LENGTH, False)


@given(st.lists(st.booleans(), max_size=40))
def test_interleaved_chains_are_sound(order: list[bool]) -> None:
    """The lines of several chains may come in any order that keeps each chain's own."""
    assert faults(interleaved(order)) == []


@given(st.integers(1, LENGTH - 1))
def test_a_removed_line_is_found(number: int) -> None:
    """The removal of any line but the last is found, and the gap is named."""
    found = faults([*LOG[: number - 1], *LOG[number:]])
    assert len(found) == 1
    last_before, first_after = number - 1, number
    assert names(found, first_after)
    assert number == 1 or names(found, last_before)


@pytest.mark.parametrize(
    ("until", "removed"), [(4, f"line 4 of chain {A} was"), (5, f"lines 4 to 5 of chain {A} were")]
)
def test_removed_lines_are_reported_in_a_sentence(until: int, removed: str) -> None:
    """The gap that removed lines leave is reported with their numbers and their chain."""
    [finding] = faults([*LOG[:3], *LOG[until:]])
    assert finding.sentence == f"Between {FILE} line 3 and {FILE} line 4: {removed} removed."


@given(st.integers(1, LENGTH - 1), st.data())
def test_a_removed_line_is_found_among_those_of_another_chain(number: int, data: st.DataObject) -> None:
    """A removed line is found among the lines of another chain, and those lines are not reported."""
    order = data.draw(st.lists(st.booleans(), min_size=6, max_size=40))
    lines = interleaved(order)
    mine = [place for place, line in enumerate(lines) if f'"{A}"'.encode() in line]
    if len(mine) > number:
        del lines[mine[number - 1]]
        found = faults(lines)
        assert len(found) == 1
        assert A in found[0].sentence


@settings(max_examples=600)
@given(st.integers(1, LENGTH - 1), st.data())
def test_a_changed_byte_is_found(number: int, data: st.DataObject) -> None:
    """A change of any byte of any line but the last is found, and the line or its gap is named."""
    line = bytearray(LOG[number - 1])
    at = data.draw(st.integers(0, len(line) - 1))
    line[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte not in {line[at], ord("\n")}))
    found = faults([*LOG[: number - 1], bytes(line), *LOG[number:]])
    assert names(found, number), [one.sentence for one in found]


@given(st.integers(0, len(LOG[-1]) - 1), st.integers(0, 255).filter(lambda byte: byte != ord("\n")))
def test_a_changed_last_line_is_found_by_its_head(at: int, byte: int) -> None:
    """A change in the last line is found with a head that was kept elsewhere."""
    line = bytearray(LOG[-1])
    was, line[at] = line[at], byte
    head = Head(A, LENGTH, line_sha256(LOG[-1]))
    assert bool(faults([*LOG[:-1], bytes(line)], head)) is (was != byte)


@given(st.integers(0, LENGTH), st.binary(max_size=40).filter(lambda text: b"\n" not in text))
def test_a_foreign_line_is_found(before: int, text: bytes) -> None:
    """Any text that is inserted at any place is found there, and nothing else is."""
    found = faults([*LOG[:before], b"x" + text, *LOG[before:]])
    assert [one.place.number for one in found] == [before + 1]


@given(anywhere, anywhere)
def test_a_copied_line_is_found(number: int, before: int) -> None:
    """A copy of a line, inserted anywhere, is found: one of the two, which cannot be distinguished, or both."""
    lines = [*LOG[:before], LOG[number - 1], *LOG[before:]]
    twins = {place for place, line in enumerate(lines, 1) if line == LOG[number - 1]}
    assert set() < {one.place.number for one in faults(lines)} <= twins


@given(st.integers(1, LENGTH - 2), st.integers(1, 3))
def test_a_forged_line_is_found(before: int, count: int) -> None:
    """Forged lines that continue the chain with correct hashes and numbers are named because the true lines follow."""
    forger = ChainedLog(A)
    forger.head = Head(A, before, line_sha256(LOG[before - 1]))
    forged = [forger.write(version="forged") for _ in range(count)]
    found = faults([*LOG[:before], *forged, *LOG[before:]])
    assert {one.place.number for one in found} == set(range(before + 1, before + count + 1))


@given(anywhere, anywhere)
def test_swapped_lines_are_found(one: int, other: int) -> None:
    """If two lines are swapped, one of them is named."""
    lines = list(LOG)
    lines[one - 1], lines[other - 1] = lines[other - 1], lines[one - 1]
    found = faults(lines)
    assert bool(found) is (one != other)
    assert one == other or names(found, one) or names(found, other)


@given(st.integers(1, LENGTH - 1), st.data())
def test_a_shortened_line_is_found(number: int, data: st.DataObject) -> None:
    """A line that was shortened in the middle of the log is found, even if it looks torn."""
    keep = data.draw(st.integers(0, len(LOG[number - 1]) - 1))
    assert names(faults([*LOG[: number - 1], LOG[number - 1][:keep], *LOG[number:]]), number)


@pytest.mark.parametrize("cut", [1, 3])
def test_a_cut_at_the_end_is_found_by_a_head(cut: int) -> None:
    """A cut at the very end is found only with a head that was kept elsewhere."""
    head = Head(A, LENGTH, line_sha256(LOG[-1]))
    assert faults(LOG[:-cut]) == []
    [found] = faults(LOG[:-cut], head)
    assert f"ends with line {LENGTH - cut}" in found.sentence


def test_an_earlier_head_is_found() -> None:
    """A head that was kept earlier is still found after the log has grown; a false one is not."""
    assert faults(LOG, Head(A, 3, line_sha256(LOG[2]))) == []
    [found] = faults(LOG, Head(A, 3, line_sha256(LOG[3])))
    assert found.place.number == 3


def test_a_head_of_a_missing_chain_is_reported() -> None:
    """A head of a chain that is missing is reported."""
    head = Head(B, 3, line_sha256(b""))
    assert verified(LOG, head)[1].missing_chains() == [head]


def test_a_rewritten_chain_is_found_only_by_a_head() -> None:
    """A chain that was written again as a whole is found only with a head that was kept elsewhere."""
    forger = ChainedLog(A)
    rewritten = [forger.start(), *(forger.write(version="forged") for _ in range(LENGTH - 1))]
    assert faults(rewritten) == []
    assert faults(rewritten, Head(A, LENGTH, line_sha256(LOG[-1])))


@pytest.mark.parametrize("cut", [1, 4])
def test_a_restart_protects_the_end_before_it(cut: int) -> None:
    """Lines that were cut off before a restart are found, because the start names the head that was in the file."""
    first, second = ChainedLog(A), ChainedLog(B)
    lines = first.lines(6)
    after = [second.start(first.head), second.write(version="v")]
    assert faults([*lines, *after]) == []
    [found] = faults([*lines[:-cut], *after])
    assert names([found], 6 - cut)


def test_a_restart_protects_the_last_line_before_it() -> None:
    """A change of the last line before a restart is found, too."""
    first, second = ChainedLog(A), ChainedLog(B)
    lines = [*first.lines(3), second.start(first.head)]
    lines[2] = lines[2].replace(b"v3", b"v4")
    [found] = faults(lines)
    assert found.place.number == 3


@pytest.mark.parametrize("kept", range(1, LENGTH))
@pytest.mark.parametrize("forged", [1, 3, 20, 200])
def test_a_restart_exposes_a_forged_end(kept: int, forged: int) -> None:
    """An end rewritten with valid hashes does not match the next start, even if it has more lines."""
    first, second = ChainedLog(A), ChainedLog(B)
    first.lines(LENGTH)
    start = second.start(first.head)
    forger = ChainedLog(A)
    lines = [
        *forger.lines(kept),
        *(forger.write(version=f"forged{number}") for number in range(forged + LENGTH - kept)),
    ]
    assert faults(lines) == []
    assert faults([*lines, start, second.write()])


def test_lines_after_the_end_of_a_chain_are_found() -> None:
    """A chain that ended cleanly has no further lines: one that was added with a valid hash is named."""
    log = ChainedLog(A)
    lines = [*log.lines(3), log.write("chain_ended")]
    assert faults(lines) == []
    added = [*lines, log.write(version="added")]
    assert names(faults(added), 5)


def test_lines_written_while_the_next_process_starts_are_reported_but_not_a_fault() -> None:
    """Lines written after the next process started may be an insertion: they are reported, but are not a fault."""
    first, second = ChainedLog(A), ChainedLog(B)
    lines = first.lines(3)
    start = second.start(first.head)
    found, _ = verified([*lines, first.write(), first.write("chain_ended"), start, second.write()])
    assert [one.is_fault for one in found] == [False]
    assert "lines 4 to 5" in found[0].sentence


def test_a_whole_run_that_was_removed_is_found() -> None:
    """The removal of a whole run is found, because the next run names its head."""
    first, second, third = ChainedLog(A), ChainedLog(B), ChainedLog("c" * 16)
    one = first.lines(3)
    two = [second.start(first.head), second.write(version="v")]
    three = [third.start(second.head)]
    assert faults([*one, *two, *three]) == []
    assert B in faults([*one, *three])[0].sentence


def test_earlier_files_may_be_left_out_on_request() -> None:
    """A chain whose beginning is missing is a fault, unless earlier files were left out on purpose."""
    assert faults(LOG[3:])[0].place.number == 1
    assert faults(LOG[3:], partial=True) == []


def test_a_torn_line_is_not_a_fault_if_the_log_says_so() -> None:
    """An incomplete line is torn, not tampered with, if the same chain reports next that lines were lost."""
    log = ChainedLog(A)
    whole = log.lines(3)
    [stump] = log.head.seal([log_line("policy_loaded", version="v")])
    lines = [*whole, stump[:60], log.write("lines_lost", count=2)]
    found, verifier = verified(lines)
    assert [(one.place.number, one.is_fault) for one in found] == [(4, False)]
    assert "torn" in found[0].sentence
    assert verifier.chains()[0].lost == 2


def test_a_line_torn_by_a_kill_is_not_a_fault() -> None:
    """An incomplete line is torn, not tampered with, if a start follows that names the line before it."""
    first, second = ChainedLog(A), ChainedLog(B)
    lines = [*first.lines(3), b'{"audit":1,"chain":"aaaa', second.start(first.head)]
    assert faults(lines) == []
    assert faults([*lines[:2], *lines[3:]]), "the line before the torn one is still protected"


def test_a_torn_line_is_not_a_fault_if_it_was_written_again() -> None:
    """With `BROKER_AUDIT_OVERFLOW=block`, what could not be written follows whole, and nothing was lost."""
    for keep in range(1, len(LOG[3]) - 1):
        found, verifier = verified([*LOG[:3], LOG[3][:keep], LOG[3][: keep + 1], *LOG[3:]])
        assert [(one.place.number, one.is_fault) for one in found] == [(4, False), (5, False)]
        assert verifier.chains()[0].lost == 0


@given(anywhere, st.integers(1, 60))
def test_a_line_that_only_looks_torn_is_found(before: int, keep: int) -> None:
    """An inserted incomplete line is a fault: the next line reports neither lost lines nor a start, nor repeats it."""
    stump = LOG[before - 1][: len(LOG[before - 1]) - keep]
    [found] = faults([*LOG[:before], stump, *LOG[before:]])
    assert found.place.number == before + 1


def test_other_lines_pass_on_request() -> None:
    """Lines outside every chain are skipped and counted on request; a removed line is still found."""
    mixed = [b"hello", *LOG[:4], b'{"level":"info"}', log_line("purge").encode(), *LOG[4:]]
    found, verifier = verified(mixed, mixed=True)
    assert (found, verifier.other_lines) == ([], 3)
    assert faults(mixed[:3] + mixed[4:], mixed=True)


def test_logs_of_container_runtimes_are_read() -> None:
    """Lines in the formats of CRI, including partial lines, and of Docker verify like plain ones; stderr is skipped."""
    cri = [b"2030-03-17T17:46:40.250000000Z stdout F " + line for line in LOG]
    start, middle = cri[2][:90], b"2030-03-17T17:46:40.250000000Z stdout F " + cri[2][90:]
    parts = [start.replace(b" F ", b" P "), b"2030-03-17T17:46:40.250000000Z stderr F listening", middle]
    docker = [
        json.dumps({"log": line.decode() + "\n", "stream": "stdout", "time": "2030-03-17T17:46:40Z"}).encode()
        for line in LOG
    ]
    for lines in (cri, [*cri[:2], *parts, *cri[3:]], docker):
        found, verifier = verified(lines)
        assert found == []
        assert verifier.chains()[0].head == Head(A, LENGTH, line_sha256(LOG[-1]))
    assert names(faults([*docker[:3], *docker[4:]]), 4)
    assert FILE in faults([*cri[:3], *cri[4:]])[0].sentence
