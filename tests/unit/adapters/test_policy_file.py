"""The policy file on a real file system: what is read, and what counts as a change."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from app.adapters.policy_file import MAX_POLICY_BYTES, PolicyFile, read_policy
from app.domain.names import Scope
from app.domain.plain_document import PolicyError
from tests.support.mounted import MountedFolder

ORG = "0123456789ABCDEF01234567@AdobeOrg"
HASH = "ab" * 32


def policy_text(name: str = "sender") -> str:
    """The text of a valid policy file with one caller."""
    return f"""\
version: 1
callers:
  - name: {name}   # a comment
    match: {{api_key_sha256: ["{HASH}"]}}
    rate_limit: 200/s
    allow:
      - orgs: ["{ORG}"]
        scopes: [openid, AdobeID]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A valid policy file."""
    file = tmp_path / "policy.yaml"
    file.write_text(policy_text())
    return file


@pytest.fixture
async def source(path: Path) -> AsyncIterator[PolicyFile]:
    """The source that reads it, without a pause between two looks."""
    made = PolicyFile(path, sleep=lambda _seconds: None)
    yield made
    await made.aclose()


def write(path: Path, content: str | bytes, *, keep_time: bool = False) -> None:
    """Write the file in place, like an editor that does not rename."""
    before = path.stat()
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    if keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


async def refusal(source: PolicyFile) -> str:
    """Place and expectation of the current refusal."""
    with pytest.raises(PolicyError) as refused:
        await source.load()
    return str(refused.value)


async def test_a_policy_is_loaded_once(source: PolicyFile, path: Path) -> None:
    """The first call returns the policy, named by its hash; the next ones return None until the content changes."""
    policy = await source.load()
    assert policy is not None
    assert policy.version == hashlib.sha256(policy_text().encode()).hexdigest()[:12]
    assert [caller.name for caller in policy.callers] == ["sender"]
    assert await source.load() is None
    write(path, policy_text())
    assert await source.load() is None


async def test_a_change_in_place_is_detected(source: PolicyFile, path: Path) -> None:
    """New content is a new policy, even with the old size and modification time."""
    await source.load()
    write(path, policy_text("render"), keep_time=True)
    policy = await source.load()
    assert policy is not None
    assert policy.callers[0].name == "render"


async def test_a_config_map_swap_is_detected(tmp_path: Path) -> None:
    """Kubernetes renames the ``..data`` symlink; the path itself never changes."""
    mounted = MountedFolder(tmp_path / "policy", {"policy.yaml": policy_text("one")})
    source = PolicyFile(mounted / "policy.yaml", sleep=lambda _seconds: None)
    first = await source.load()
    mounted.swap({"policy.yaml": policy_text("two")})
    second = await source.load()
    await source.aclose()
    assert first is not None
    assert second is not None
    assert [first.callers[0].name, second.callers[0].name] == ["one", "two"]


@pytest.mark.parametrize("bad", [b"", b"version: 2\n", b"\xff", b"a: [", b"# nothing but a comment\n"])
async def test_a_bad_file_raises_until_it_is_good(source: PolicyFile, path: Path, bad: bytes) -> None:
    """A bad file is refused at each call with the same text, and a good one after it is loaded."""
    await source.load()
    write(path, bad)
    assert await refusal(source) == await refusal(source)
    write(path, policy_text("render"))
    assert await source.load() is not None


async def test_a_return_to_the_last_good_file_is_not_a_change(source: PolicyFile, path: Path) -> None:
    """The last good policy is still in force, so there is nothing to load."""
    await source.load()
    write(path, b"")
    await refusal(source)
    write(path, policy_text())
    assert await source.load() is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [("none.yaml", "cannot be read: no such file or directory"), ("", "is a directory, not a regular file")],
)
async def test_a_missing_file_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    """A missing file is an error, not an empty policy; the detail gives the reason."""
    source = PolicyFile(tmp_path / name)
    assert await refusal(source) == f"policy: {reason}"
    await source.aclose()


async def test_more_than_16_mib_is_refused(source: PolicyFile, path: Path) -> None:
    """A file that is too large is refused without being read to its end."""
    with path.open("wb") as file:
        file.truncate(1024**4 if os.name == "posix" else MAX_POLICY_BYTES + 1)
    assert await refusal(source) == "policy: is larger than 16 MiB"


def writer(path: Path, *contents: str) -> Callable[[float], None]:
    """A sleep during which another process writes the next item of `contents`."""
    left = list(contents)

    def sleep(_seconds: float) -> None:
        if left:
            path.write_text(left.pop(0))

    return sleep


async def test_a_half_written_file_is_waited_for(path: Path) -> None:
    """A partial file that is a valid, broader policy is not loaded while more is being written."""
    whole = policy_text()
    write(path, whole[: whole.index("        scopes")])
    source = PolicyFile(path, sleep=writer(path, whole[:-10], whole))
    policy = await source.load()
    await source.aclose()
    assert policy is not None
    assert policy.callers[0].rules[0].scopes == frozenset({Scope("openid"), Scope("AdobeID")})


async def test_new_content_is_read_again_a_second_later(path: Path) -> None:
    """A writer may pause in the middle, so a change is confirmed a second later; the first load does not wait."""
    waits: list[float] = []
    source = PolicyFile(path, sleep=waits.append)
    await source.load()
    write(path, policy_text("another"))
    assert await source.load() is not None
    await source.aclose()
    assert waits == [0.05, 1.0]


async def test_a_named_pipe_is_refused_at_once(source: PolicyFile, path: Path) -> None:
    """A named pipe is refused, because waiting for its writer could block later changes forever."""
    await source.load()
    replace_by_pipe(path)
    async with asyncio.timeout(5):
        assert await refusal(source) == "policy: is a named pipe, not a regular file"
    replace_by_file(path, policy_text("again"))
    assert await source.load() is not None


def replace_by_pipe(path: Path) -> None:
    """Replace the file with a named pipe that has no writer."""
    path.unlink()
    os.mkfifo(path)


def replace_by_file(path: Path, content: str) -> None:
    """Replace the pipe with a file."""
    path.unlink()
    path.write_text(content)


async def test_a_file_that_never_settles_is_refused(path: Path) -> None:
    """Waiting for a file to stop changing is bounded."""
    contents = [policy_text(f"c{number}") for number in range(100)]
    source = PolicyFile(path, sleep=writer(path, *contents))
    assert await refusal(source) == "policy: is still being written"
    await source.aclose()


async def test_a_policy_whose_load_was_cancelled_is_not_lost(path: Path) -> None:
    """If a load is cancelled while the file is read, the next load still returns the policy."""
    loop, reading, go_on = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def sleep(_seconds: float) -> None:
        loop.call_soon_threadsafe(reading.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)

    source = PolicyFile(path, sleep=sleep)
    abandoned = asyncio.create_task(source.load())
    await reading.wait()
    abandoned.cancel()
    go_on.set()
    assert await source.load() is not None
    await source.aclose()


async def test_loading_does_not_block_the_loop(path: Path) -> None:
    """While the file is read, other tasks of the loop run."""
    loop, go_on = asyncio.get_running_loop(), asyncio.Event()

    def sleep(_seconds: float) -> None:
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)

    source = PolicyFile(path, sleep=sleep)
    loading = asyncio.create_task(source.load())
    await asyncio.sleep(0)
    assert not loading.done()
    go_on.set()
    assert await loading is not None
    await source.aclose()


def test_the_command_line_reads_the_same_way(path: Path) -> None:
    """`read_policy` accepts and refuses the same files as the service."""
    assert read_policy(path).callers[0].name == "sender"
    path.write_text("version: 2\ncallers: []\n")
    with pytest.raises(PolicyError, match=r"^version: must be 1$"):
        read_policy(path)
