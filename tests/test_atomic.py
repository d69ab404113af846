"""Nothing on disk is ever lost or half written."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from featurefields.atomic import atomic_path, write_bytes
from featurefields.errors import WriteError
from featurefields.files import write_container, write_ply
from featurefields.splats import Splats

OLD = b"what was here before"
COUNT = 4000


def container(path: Path) -> None:
    write_container(path, {"a": torch.zeros(COUNT * 4)}, {}, kind="checkpoint", overwrite=True)


def splat_ply(path: Path) -> None:
    splats = Splats(
        torch.zeros(COUNT, 3), torch.ones(COUNT, 4), torch.zeros(COUNT, 3), torch.zeros(COUNT),
        {"harmonics": torch.zeros(COUNT, 1, 3)},
    )  # fmt: skip
    write_ply(splats, path, overwrite=True)


def plain(path: Path) -> None:
    write_bytes(path, b"x" * COUNT * 16, overwrite=True)


WRITERS = pytest.mark.parametrize("write", [plain, container, splat_ply])


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """The system refuses to let any file grow beyond `size` bytes, as a full disk or a quota does."""
    resource = pytest.importorskip("resource", reason="the system has no file size limit to set")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def assert_untouched(path: Path) -> None:
    assert path.read_bytes() == OLD
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@WRITERS
def test_a_refusing_disk_loses_nothing(write: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "result.bin"
    path.write_bytes(OLD)
    with file_size_limit(20_000), pytest.raises(WriteError, match=r"result\.bin.*too large.*nothing was"):
        write(path)
    assert_untouched(path)
    write(path)
    assert path.stat().st_size > 20_000


@WRITERS
def test_a_disk_that_fills_up_at_the_end_loses_nothing(
    write: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "result.bin"
    path.write_bytes(OLD)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match="No space left on device") as raised:
        write(path)
    assert "\n" not in str(raised.value)
    assert_untouched(path)


@WRITERS
def test_the_bytes_reach_the_disk_before_the_name(
    write: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, calls = tmp_path / "result.bin", []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (calls.append("fsync"), fsync(file)))
    monkeypatch.setattr(os, "replace", lambda *paths: (calls.append("replace"), replace(*paths)))
    write(path)
    assert calls == ["fsync", "replace"]


def test_an_error_in_the_block_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "result.bin"
    path.write_bytes(OLD)
    with pytest.raises(KeyboardInterrupt), atomic_path(path, overwrite=True) as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    assert_untouched(path)


def test_an_existing_file_stops_before_any_work(tmp_path: Path) -> None:
    path = tmp_path / "result.bin"
    path.write_bytes(OLD)
    worked = False
    with pytest.raises(WriteError, match="exists already"), atomic_path(path):
        worked = True
    assert not worked
    assert_untouched(path)


def test_missing_folders_are_made_and_permissions_are_usual(tmp_path: Path) -> None:
    path = write_bytes(tmp_path / "a" / "b" / "result.bin", b"content")
    assert path.read_bytes() == b"content"
    plainly = tmp_path / "plainly"
    plainly.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plainly.stat().st_mode)


def test_a_parent_that_is_a_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OLD)
    with pytest.raises(WriteError, match="cannot write") as raised:
        write_bytes(tmp_path / "file" / "result.bin", b"content")
    assert "\n" not in str(raised.value)
    assert (tmp_path / "file").read_bytes() == OLD
