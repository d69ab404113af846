"""`python -m benchmarks faults`: commands killed (SIGKILL) at random moments; what is on disk afterwards is whole.

After every kill each file under its final name must be read without an error, and the same command, with --resume
where there is a checkpoint, must end well. `pair` runs two processes on one cache and kills one of them; `batch` kills
a batch of two scenes, whose scenes then stop by themselves.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random

SCENE = Path(__file__).parents[1] / "assets" / "demo_scene"
CONTEXT = multiprocessing.get_context("fork")
STEPS = 40
LIMIT_S = 300.0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=10, help="of every command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--only", nargs="*", default=list(COMMANDS), choices=list(COMMANDS), metavar="COMMAND"
    )
    chosen = parser.parse_args(arguments)
    os.environ.setdefault("FF_THREADS", "1")
    import featurefields_cli.edit
    import featurefields_cli.fit  # noqa: F401  children begin at once

    print(
        "| command | killed | ended before | left behind whole | went on and ended well |\n|---|---|---|---|---|"
    )
    lost = 0
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch) / "base"
        run(fit_arguments(base, base / "cache"))
        for name in chosen.only:
            told = killed(name, base, Path(scratch) / name, chosen.kills, Random(f"{name} {chosen.seed}"))
            print(f"| {name} | {told[0]} | {told[1]} | {told[2]} | {told[3]} |", flush=True)
            lost += 2 * sum(told[:2]) - told[2] - told[3]
    return int(lost > 0)


def fit_arguments(folder: Path, cache: Path, *more: object) -> list[str]:
    return [*map(str, ["fit", "--data", SCENE, "-o", folder, *more])] + stage(cache)


def stage(cache: Path) -> list[str]:
    """Options of a fit of some seconds."""
    told = ["--steps", STEPS, "--splats", 2000, "--features", "classical", "--downscale", 4, "--cache", cache]
    return [*map(str, told)]


def _fit(base: Path, folder: Path, again: bool) -> list[str]:
    resume = ["--resume"] if (folder / "checkpoint.safetensors").exists() else ["--overwrite"]
    return fit_arguments(folder, base / "cache", *(resume if again else []))


def _features(base: Path, folder: Path, again: bool) -> list[str]:
    """A fit of one step: nearly all of its time goes into features, which its own cache keeps."""
    return [*fit_arguments(folder, folder / "cache", "--overwrite"), "--steps", "1"]


def _edit(base: Path, folder: Path, again: bool) -> list[str]:
    whole = ["edit", base, "--remove-specular", "-o", folder, *(["--overwrite"] if again else [])]
    return [*map(str, whole)]


def _pair(base: Path, folder: Path, again: bool) -> list[str]:
    return [*fit_arguments(folder / "a", folder / "cache", "--overwrite"), "--steps", "1"]


def _batch(base: Path, folder: Path, again: bool) -> list[str]:
    scenes = folder.parent / "scenes"
    for name in ("one", "two"):
        if not (scenes / name).exists():
            shutil.copytree(SCENE, scenes / name)
    passed = f"--options={' '.join(stage(base / 'cache'))}"
    return [*map(str, ["batch", "fit", "--scenes", scenes / "*", "-o", folder, passed])]


COMMANDS: dict[str, Callable[[Path, Path, bool], list[str]]] = {
    "fit": _fit,
    "features": _features,
    "edit": _edit,
    "pair": _pair,
    "batch": _batch,
}


def killed(name: str, base: Path, folder: Path, kills: int, random: Random) -> tuple[int, int, int, int]:
    """How often a command was killed, had ended before, left only whole files, and ended well afterwards."""
    made = COMMANDS[name]
    began = time.monotonic()
    if not run(made(base, folder, False)):
        raise SystemExit(f"{name} fails without being killed: {made(base, folder, False)}")
    seconds = time.monotonic() - began
    counts = [0, 0, 0, 0]
    for _ in range(kills):
        shutil.rmtree(folder, ignore_errors=True)
        other = None
        if name == "pair":
            second = fit_arguments(folder / "b", folder / "cache", "--overwrite")
            other = started([*second, "--steps", "1"])
        child = started(made(base, folder, False))
        child.join(random.uniform(0.0, 1.0) * seconds)
        counts[0 if child.is_alive() else 1] += 1
        child.kill()
        child.join()
        counts[2] += all(is_whole(path) for path in folder.rglob("*"))
        well = run(made(base, folder, True))
        if other is not None:
            other.join(LIMIT_S)
            well &= other.exitcode == 0
        counts[3] += well and all(is_whole(path) for path in folder.rglob("*"))
    shutil.rmtree(folder, ignore_errors=True)
    return counts[0], counts[1], counts[2], counts[3]


def started(arguments: list[str]) -> BaseProcess:
    child = CONTEXT.Process(target=_command, args=(arguments,))
    child.start()
    return child


def run(arguments: list[str]) -> bool:
    """Whether a command ends well."""
    child = started(arguments)
    child.join(LIMIT_S)
    if child.is_alive():
        child.kill()
    return child.exitcode == 0


def _command(arguments: list[str]) -> None:
    from featurefields.fitting.loop import run_fit
    from featurefields_cli import main as ff

    assert run_fit.__kwdefaults__ is not None
    run_fit.__kwdefaults__["every_s"] = 0.2  # minutes, else: no fit of a few seconds would keep a checkpoint
    with (
        open(os.devnull, "w") as nothing,
        contextlib.redirect_stdout(nothing),
        contextlib.redirect_stderr(nothing),
    ):
        code = ff(arguments)
    os._exit(code)


def is_whole(path: Path) -> bool:
    """Whether a file can be read; temporary ones (with a dot) may be anything, nobody reads them."""
    from PIL import Image
    from safetensors.torch import load_file

    from featurefields.files.archive import read_archive
    from featurefields.files.ply import read_ply

    try:
        if path.name.startswith(".") or not path.is_file():
            return True
        if path.name == "field.safetensors":
            read_archive(path)
        elif path.suffix == ".safetensors":
            load_file(path)
        elif path.suffix == ".ply":
            read_ply(path)
        elif path.suffix == ".png":
            Image.open(path).load()
        elif path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return True  # its process, which lives on, has removed it
    except Exception as error:  # whatever it is, the file is not whole
        print(f"    {path}: {error}")
        return False
    return True
