"""Scenes of a batch, what is run for each, and what became of them, kept on disk."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from _thread import interrupt_main
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from featurefields.errors import FileFormatError, FittingError, SceneError
from featurefields.foreign_json import parsed

FF = ("-c", "from featurefields_cli.batch_jobs import run_scene; run_scene()")


@dataclass(frozen=True)
class Job:
    """One command line for one scene, and the environment that it gets in addition."""

    scene: str
    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of a scene: `state` is running, done or failed; `facts` is the summary of its command."""

    state: str
    seconds: float = 0.0
    error: str = ""
    facts: dict[str, Any] | None = None


def scenes_of(text: str) -> dict[str, Path]:
    """Name → folder, in the order of the list, or of the names that a pattern finds.

    Raises:
        SceneError: there are none, one does not exist, or two have the same name.
    """
    listed = Path(text)
    if listed.is_file():
        lines = [line.split("#", 1)[0].strip() for line in listed.read_text(encoding="utf-8").splitlines()]
        folders = [listed.parent / line for line in lines if line]
    else:
        from glob import glob

        folders = [Path(found) for found in sorted(glob(text)) if Path(found).is_dir()]
    if not folders:
        raise SceneError(f"--scenes {text}: no file with folders, and no folder is called so")
    scenes: dict[str, Path] = {}
    for folder in folders:
        name = folder.resolve().name
        if name in scenes:
            raise SceneError(
                f"--scenes {text}: two scenes are called {name} ({scenes[name]}, {folder}), and results are named by "
                "scene; rename one or run it in a batch of its own"
            )
        scenes[name] = folder
    return scenes


def job_of(
    task: str, name: str, folder: Path, output: Path, passed: tuple[str, ...], *, again: bool, threads: int
) -> Job:
    """`ff TASK` of one scene. `again`: what a run before left behind is gone on with, or replaced."""
    result = output / name
    arguments = [task, "--data", str(folder), *passed, "--json"]
    if task == "probe":
        arguments += ["--output", str(result / "probe.json")]
    elif task != "extract":
        arguments += ["--output", str(result)]
    if again and task != "extract":
        interrupted = task == "fit" and (result / "checkpoint.safetensors").exists()
        arguments += ["--resume" if interrupted else "--overwrite"]
    count = str(threads)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS") if threads else ()
    return Job(name, tuple(arguments), tuple((key, count) for key in names))


def run_scene() -> None:
    """What the process of a scene runs: the command line, interrupted as by Ctrl-C when the batch is no more.

    The batch holds the other end of stdin, which closes however the batch ends. A fit then keeps a checkpoint, and none
    goes on beside the one that the next run of the batch starts.
    """
    from featurefields_cli import main

    def watch() -> None:
        while os.read(0, 1):
            pass
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # begun in the background of a script
            os._exit(1)
        interrupt_main()

    threading.Thread(target=watch, daemon=True).start()
    sys.exit(main())


def run_job(job: Job) -> Outcome:
    """Run the command in a process of its own; whatever happens there is the outcome."""
    started = time.monotonic()
    watched, held = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, *FF, *job.arguments],
            stdin=watched,
            capture_output=True,
            text=True,
            env={**os.environ, **dict(job.environment)},
            check=False,
        )
    finally:
        os.close(watched)
        os.close(held)
    seconds = round(time.monotonic() - started, 2)
    try:
        told = json.loads(done.stdout)
    except ValueError:
        told = {}
    if done.returncode == 0 and told:
        return Outcome("done", seconds, facts=told)
    lines = [line for line in done.stderr.splitlines() if line.strip(" ╭╮╰╯─│")]
    error = told.get("error", {}).get("message") or (lines[-1] if lines else "it told nothing")
    killed = f"ended by signal {-done.returncode}: " if done.returncode < 0 else ""
    return Outcome("failed", seconds, error=" ".join((killed + error).split()))


@dataclass(frozen=True)
class BatchState:
    """What became of every scene, as kept in a JSON file that is written anew after each."""

    path: Path
    task: str
    passed: tuple[str, ...]
    scenes: Mapping[str, Outcome]

    @classmethod
    def read(cls, path: Path, task: str, passed: tuple[str, ...], *, anew: bool) -> "BatchState":
        """The state that is there, or an empty one.

        Raises:
            FileFormatError: the file is damaged.
            FittingError: it is of another task or of other options, and `anew` is False.
        """
        if anew or not path.exists():
            return cls(path, task, passed, {})
        try:
            found = parsed(path.read_text(encoding="utf-8"))
            scenes = {name: Outcome(**outcome) for name, outcome in found["scenes"].items()}
            before = (found["task"], tuple(found["options"]))
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise FileFormatError(
                f"{path} is no state of a batch ({error}); move it away, or pass --overwrite"
            ) from error
        if before != (task, passed):
            raise FittingError(
                f"{path} is of ff {' '.join((before[0], *before[1]))}; use another output folder, or --overwrite to "
                "begin anew"
            )
        return cls(path, task, passed, scenes)

    def knows(self, name: str, *states: str) -> bool:
        """Whether a scene is in one of these states."""
        return name in self.scenes and self.scenes[name].state in states

    def after(self, changes: Mapping[str, Outcome]) -> "BatchState":
        """The state with these outcomes, on disk too."""
        from featurefields.atomic import write_bytes

        state = replace(self, scenes={**self.scenes, **changes})
        content = {
            "task": self.task,
            "options": list(self.passed),
            "scenes": {name: asdict(outcome) for name, outcome in state.scenes.items()},
        }
        write_bytes(self.path, (json.dumps(content, indent=1) + "\n").encode(), overwrite=True)
        return state


def local_outcomes(jobs: list[Job], workers: int) -> Iterator[tuple[str, Outcome | None]]:
    """Run jobs in processes of this machine, `workers` at a time: scene and None at its start, outcome at its end."""
    from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

    waiting, running = list(reversed(jobs)), dict[Future[Outcome], str]()
    with ThreadPoolExecutor(workers) as pool:
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.pop()
                yield job.scene, None
                running[pool.submit(run_job, job)] = job.scene
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()


def ray_outcomes(
    jobs: list[Job], address: str | None, cpus: float, gpus: float
) -> Iterator[tuple[str, Outcome | None]]:
    """Run jobs as tasks of Ray, as many at a time as its machines have processors for.

    Raises:
        UnavailableError: Ray is not installed, or there is no such cluster.
    """
    from featurefields.errors import UnavailableError

    try:
        import ray
        from ray.exceptions import RayError
    except ImportError as error:
        raise UnavailableError(
            f"--engine ray needs Ray ({error}); install it with: pip install 'featurefields[batch]', or use "
            "--engine local"
        ) from error
    try:
        ray.init(address=address, log_to_driver=False, include_dashboard=False if address is None else None)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UnavailableError(
            f"Ray cannot be reached at {address or 'this machine'}: {' '.join(str(error).split())}"
        ) from error
    try:
        remote = ray.remote(run_job).options(num_cpus=cpus, num_gpus=gpus)
        running = {}
        for job in jobs:
            yield job.scene, None
            running[remote.remote(job)] = job.scene
        while running:
            finished, _ = ray.wait(list(running), num_returns=1)
            for one in finished:
                try:
                    yield running.pop(one), ray.get(one)
                except RayError as error:  # its machine has gone, for instance
                    yield running.pop(one, ""), Outcome("failed", error=" ".join(str(error).split())[:300])
    finally:
        ray.shutdown()
