"""Folders that may not be written to: one line before any work is done, and nothing is changed.

The commands run as somebody whom the system keeps from writing, also where the tests are run by root.
"""

import ctypes
import os
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_bad_input import tree
from tiny_fields import photograph, two_balls

from featurefields.files.archive import write_archive
from featurefields_cli import main

CAP_DAC_OVERRIDE = 1
"""The right by which root writes where the permissions say that nobody may (capabilities(7))."""


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """Photos, a field and a folder that is read-only; everybody may read them."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        photograph(folder / "photos", views=4)
        write_archive(two_balls(), folder / "field" / "field.safetensors")
        (folder / "out").mkdir()
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield folder
        for path in (folder, *folder.rglob("*")):
            path.chmod(path.stat().st_mode | stat.S_IWUSR)


def obey_permissions() -> None:
    """From now on this thread writes only where permissions let the owner write, as everybody but root does."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; rights 0-31, then the others
    assert libc.capget(header, sets) == 0, os.strerror(ctypes.get_errno())
    for place in range(3):
        sets[place] &= ~(1 << CAP_DAC_OVERRIDE)
    assert libc.capset(header, sets) == 0, os.strerror(ctypes.get_errno())


def as_anybody(arguments: list[str]) -> int:
    """Exit code of a command in a thread without that right: rights are the thread's own."""

    def work() -> None:
        obey_permissions()
        codes.append(main(arguments))

    codes: list[int] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return codes[0]


COMMANDS = {
    "fit": "fit --data photos -o OUT --features none --steps 100000",
    "lift": "lift --data photos -o OUT --features none --views 3",
    "segment": "segment field --view images/001.png --click 5,5 -o OUT",
    "edit": "edit field --remove-specular -o OUT",
    "export": "export field -o OUT/balls.ply",
    "render": "render field -o OUT",
    "eval": "eval field --data photos -o OUT/report.json",
    "batch": "batch fit --scenes list -o OUT",
    "distill": "distill --data photos --features dinov2 -o OUT",
    "probe": "probe --data photos --features classical -o OUT/probe.json",
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("folder", ["out", "out/new/folder"])
def test_a_folder_that_is_read_only_is_told_at_once(name: str, folder: str, place: Path, capsys) -> None:
    given = {"photos": place / "photos", "field": place / "field", "list": place / "photos"}
    words = [
        str(given.get(word, word)).replace("OUT", str(place / folder)) for word in COMMANDS[name].split()
    ]
    before = tree(place)
    code, (out, told) = as_anybody(words), capsys.readouterr()
    lines = [line for line in told.splitlines() if line.startswith("error: ")]
    assert (code, out, len(lines)) == (1, "", 1), told
    assert "cannot write" in lines[0] and "read-only" in lines[0] and "Traceback" not in told
    assert tree(place) == before
