"""Compressed splat files, made by PlayCanvas' command `splat-transform` where it is installed.

The command (MIT licence, runs on Node.js) is looked for on the PATH and started as a program of its own; nothing of it
is part of this package. Formats: .sog and .compressed.ply (PlayCanvas), .spz (Niantic), .html (a page with a viewer
and the splats in it). Which of them it can write depends on its version; what it says is passed on.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

from featurefields.atomic import atomic_path, refuse_existing
from featurefields.errors import UnavailableError, WriteError
from featurefields.files.ply import write_ply
from featurefields.splats import Splats

COMMAND = "splat-transform"
ENDINGS = (".compressed.ply", ".sog", ".spz", ".html")
"""What is written through the command."""
CLUSTERED = (".sog", ".html")
"""Formats whose making wants a graphics card; without one it is told to do without."""


def compressed_ending(path: Path) -> str | None:
    """The ending of `path` when it is one of `ENDINGS`."""
    name = path.name.lower()
    return next((ending for ending in ENDINGS if name.endswith(ending)), None)


def check_available(path: Path) -> str:
    """Where the command is. Raises `UnavailableError`, saying how to install it, when it is not there."""
    found = shutil.which(COMMAND)
    if found is None:
        raise UnavailableError(
            f"writing {path.name} needs the command {COMMAND}, which is not on the PATH; install Node.js 22 or newer, "
            f"then: npm install -g @playcanvas/{COMMAND} (or write a .ply or .splat, which need nothing)"
        )
    return found


def write_compressed(splats: Splats, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write splats with a column "harmonics" (n k 3) in a compressed format; compression loses precision.

    Raises:
        UnavailableError: the command is not installed.
        WriteError: another ending, no splats, the file exists, or the command failed; the message has its last words.
    """
    path = Path(path)
    ending = compressed_ending(path)
    if ending is None:
        raise WriteError(f"cannot write {path}: a compressed splat file ends in {', '.join(ENDINGS)}")
    refuse_existing(path, overwrite)
    command = check_available(path)
    with tempfile.TemporaryDirectory(prefix="featurefields-") as folder:
        source, made = Path(folder) / "splats.ply", Path(folder) / f"made{ending}"
        write_ply(splats, source)
        reason = _run([command, "-w", str(source), str(made)], made)
        if reason and ending in CLUSTERED:
            reason = _run([command, "-w", "-g", "cpu", str(source), str(made)], made)
        if reason:
            raise WriteError(
                f"cannot write {path}: {COMMAND} failed ({reason}); try a newer version of it, or a .ply"
            )
        with atomic_path(path, overwrite=overwrite) as temporary:
            shutil.copyfile(made, temporary)
    return path


def _run(command: list[str], made: Path) -> str:
    """Run it; "" when `made` is there afterwards, else what was said, in one line."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        return error.strerror or str(error)
    if done.returncode == 0 and made.is_file() and made.stat().st_size > 0:
        return ""
    lines = [line.strip(" ✗·▸") for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    wrong = [line for line in lines if "error" in line.lower()] or lines[-1:]
    return wrong[0][:200] if wrong else f"exit code {done.returncode}, nothing written"
