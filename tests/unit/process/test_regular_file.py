"""Files that an operator names are read only if they are regular, small and not being changed."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from app.process.regular_file import FileError, MissingFileError, UnreadableFileError, read_bytes, read_text

pytestmark = pytest.mark.timeout(10)


def refusal(path: Path, read: Callable[[Path, int], object] = read_bytes, limit: int = 1024) -> FileError:
    """Why a file is refused."""
    with pytest.raises(FileError) as refused:
        read(path, limit)
    assert refused.value.path == path
    assert str(refused.value) == f"{path} {refused.value.reason}"
    return refused.value


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    """A file of exactly the largest size is read, and so is one behind a symbolic link."""
    (tmp_path / "file").write_bytes(b"\0" * 1024)
    (tmp_path / "link").symlink_to("file")
    assert read_bytes(tmp_path / "file", 1024) == read_bytes(tmp_path / "link", 1024) == b"\0" * 1024


@pytest.mark.parametrize(
    ("limit", "words"), [(1000, "1000 bytes"), (2048, "2 KiB"), (1024 * 1024, "1 MiB"), (1536 * 1024, "1536 KiB")]
)
def test_a_file_that_is_too_large_is_refused(tmp_path: Path, limit: int, words: str) -> None:
    """A file above the limit is not read to its end, and the error gives the limit."""
    with (tmp_path / "file").open("wb") as file:
        file.truncate(1 << 40)
    assert refusal(tmp_path / "file", limit=limit).reason == f"is larger than {words}"


def test_a_named_pipe_is_refused_at_once(tmp_path: Path) -> None:
    """A named pipe is not opened to wait for a writer, and a writer that is there does not change that."""
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe").reason == "is a named pipe, not a regular file"
    descriptor = os.open(tmp_path / "pipe", os.O_RDWR)
    os.write(descriptor, b"secret")
    assert refusal(tmp_path / "pipe").reason == "is a named pipe, not a regular file"
    os.close(descriptor)


def test_what_is_not_a_file_is_named(tmp_path: Path) -> None:
    """A directory and a device are named; a socket cannot even be opened."""
    assert refusal(tmp_path).reason == "is a directory, not a regular file"
    assert refusal(Path("/dev/zero")).reason == "is a device, not a regular file"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        assert isinstance(refusal(tmp_path / "socket"), UnreadableFileError)


@pytest.mark.parametrize("name", ["none", "file/below"])
def test_a_missing_file_is_an_error_of_its_own(tmp_path: Path, name: str) -> None:
    """Callers can distinguish a file that is not there from one that cannot be read."""
    (tmp_path / "file").touch()
    error = refusal(tmp_path / name)
    assert isinstance(error, MissingFileError)
    assert error.reason.startswith("cannot be read: no")


def test_a_file_that_cannot_be_opened_is_not_missing(tmp_path: Path) -> None:
    """A link to itself, and a name that no file can have, are unreadable."""
    (tmp_path / "loop").symlink_to("loop")
    error = refusal(tmp_path / "loop")
    assert isinstance(error, UnreadableFileError)
    assert not isinstance(error, MissingFileError)
    assert error.reason == "cannot be read: too many levels of symbolic links"
    assert refusal(tmp_path / "a\0b").reason == "cannot be read: its name is not valid"


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    """What is returned was there as a whole."""
    path = tmp_path / "file"
    path.write_bytes(b"first")
    writes = 0

    def write() -> None:
        nonlocal writes
        writes += 1
        if writes == 1:
            path.write_bytes(b"second")

    assert read_bytes(path, 1024, opened=write) == b"second"


def test_a_file_that_changes_all_the_time_is_refused(tmp_path: Path) -> None:
    """The number of attempts is bounded."""
    path = tmp_path / "file"
    sizes: list[int] = []

    def write() -> None:
        sizes.append(len(sizes) + 1)
        path.write_bytes(b"x" * sizes[-1])

    path.touch()
    with pytest.raises(FileError, match=r"is still being written$"):
        read_bytes(path, 1024, opened=write)
    assert sizes == [1, 2, 3]


@pytest.mark.parametrize(("content", "text"), [(b"secret\n", "secret"), (b" a b \r\n", " a b "), ("ä".encode(), "ä")])
def test_text_ends_before_its_last_line_end(tmp_path: Path, content: bytes, text: str) -> None:
    """A line end that an editor adds is not a part of the text; spaces are."""
    (tmp_path / "file").write_bytes(content)
    assert read_text(tmp_path / "file", 1024) == text


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "is empty"), (b"\r\n\n", "is empty"), (b"canary\xff", "is not UTF-8 text")]
)
def test_a_file_without_text_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    """An empty file and one that is not text are refused, without a part of the content."""
    (tmp_path / "file").write_bytes(content)
    error = refusal(tmp_path / "file", read_text)
    assert error.reason == reason
    assert error.__cause__ is None


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    """Files are closed, whether they were read or refused."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    before = len(list(Path("/proc/self/fd").iterdir()))
    refusal(tmp_path / "pipe")
    refusal(tmp_path)
    read_bytes(tmp_path / "file", 1)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
