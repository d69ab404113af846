"""nerfstudio's commands, each in a process of its own.

They need nerfstudio, which has hard pins and is rarely in the environment that runs the tests: FF_NERFSTUDIO names the
Python of one where it is installed beside this package; without, this Python is asked.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYTHON = Path(os.environ.get("FF_NERFSTUDIO", sys.executable))


def installed(module: str) -> bool:
    """Whether that Python has a module."""
    code = f"import importlib.util as u, sys; sys.exit(u.find_spec({module!r}) is None)"
    return subprocess.run([PYTHON, "-c", code], check=False).returncode == 0


INSTALLED = installed("nerfstudio")
needs_nerfstudio = pytest.mark.skipif(
    not INSTALLED,
    reason=f"{PYTHON} has no nerfstudio; FF_NERFSTUDIO names the Python of an environment that has",
)
NAME = "disentangled-features"
METHOD = (
    f"{NAME} --pipeline.model.features classical --pipeline.model.feature-dim 6 --pipeline.model.splats 300"
)
SCRIPTS = {
    "ns-train": "train",
    "ns-eval": "eval",
    "ns-render": "render",
    "ns-export": "exporter",
    "ns-viewer": "viewer.run_viewer",
}


def command_line(command: str, *arguments: object) -> list[str]:
    """One of nerfstudio's commands; texts are split at spaces, paths are not."""
    code = f"from nerfstudio.scripts.{SCRIPTS[command]} import entrypoint; entrypoint()"
    words = [
        word for each in arguments for word in ([str(each)] if isinstance(each, Path) else str(each).split())
    ]
    return [str(PYTHON), "-c", code, *words]


def environment(path: str = "") -> dict[str, str]:
    """Of a command; TORCHDYNAMO_DISABLE only makes it start sooner. `path` is looked in first for modules."""
    return os.environ | {
        "TORCHDYNAMO_DISABLE": "1",
        "GOMP_SPINCOUNT": "2000",
        "COLUMNS": "400",
        "PYTHONPATH": os.pathsep.join(filter(None, (path, str(ROOT)))),
    }


def ns(command: str, *arguments: object, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run one of nerfstudio's commands to its end."""
    return run_code(command_line(command, *arguments), path)


def run_code(words: list[str], path: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, env=environment(path), capture_output=True, text=True, timeout=1800, check=False
    )


def succeeded(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done
