"""`ff batch`: one command over many scenes, on this machine or on a Ray cluster; what is done stays done."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from featurefields.errors import FittingError

from .console import Console, Summary
from .options import OptionalName, Output, ReportOptions

if TYPE_CHECKING:
    from .batch_jobs import BatchState, Job

STATE_FILE = "batch.json"


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """Run ff fit, lift, probe or extract for many scenes; again, and only what is not done yet is run.

    What that command is given stands in --options="--steps 2000 --features classical". What became of each scene is
    kept in batch.json in the output folder. Exits with 1 when scenes failed, after all others were run.
    """

    task: tyro.conf.Positional[Literal["fit", "lift", "probe", "extract"]]
    """What is done to each scene; results go to OUTPUT/SCENE, those of extract to the cache of features."""
    scenes: Annotated[str, tyro.conf.arg(metavar="FILE|PATTERN")]
    """A text file with one folder a line (relative to the file; # begins a comment), or a pattern of folders in
    quotes: 'captures/*'."""
    output: Output = Path("outputs/batch")
    """Folder for one folder a scene, and the state."""
    options: str = ""
    """Options for the command of every scene."""
    engine: Literal["local", "ray"] = "local"
    """local: processes of this machine. ray: tasks of a Ray cluster (extra batch), whose machines share these
    folders."""
    address: OptionalName = None
    """Ray cluster to join, such as auto or ray://head:10001; without, Ray starts on this machine."""
    workers: int = 1
    """Scenes at the same time (local), each with its share of the processors."""
    cpus: float = 2.0
    """Processors that one scene reserves (ray)."""
    gpus: float = 0.0
    """GPUs that one scene reserves (ray)."""
    overwrite: bool = False
    """Begin anew: also run what is done, replacing its results."""
    report: tyro.conf.OmitArgPrefixes[ReportOptions] = ReportOptions()


def run(options: BatchOptions, console: Console) -> Summary:
    """Run what is not done, keep the state after every scene, tell what failed.

    Raises:
        FittingError: a number makes no sense, scenes failed, or the state is of another batch.
        SceneError: there are no scenes, or two have the same name.
        UnavailableError: Ray was asked for and is not there.
    """
    import shlex
    from time import monotonic

    from .batch_jobs import BatchState, Outcome, job_of, local_outcomes, ray_outcomes, scenes_of
    from .forecast import usable_cores

    if options.workers < 1 or options.cpus <= 0 or options.gpus < 0:
        raise FittingError("--workers and --cpus must be positive, and --gpus not negative")
    try:
        passed = tuple(shlex.split(options.options))
    except ValueError as error:
        raise FittingError(f"--options cannot be split into words: {error}; close what is quoted") from error
    local, folders = options.engine == "local", scenes_of(options.scenes)
    state = BatchState.read(options.output / STATE_FILE, options.task, passed, anew=options.overwrite)
    before = [name for name in folders if state.knows(name, "done")]
    threads = max(1, usable_cores() // options.workers) if local else int(max(1, options.cpus))
    jobs: list[Job] = [
        job_of(
            options.task, name, folder.resolve(), options.output.resolve(), passed,
            again=options.overwrite or name in state.scenes, threads=threads,
        )
        for name, folder in folders.items() if name not in before
    ]  # fmt: skip
    started = monotonic()
    outcomes = (
        local_outcomes(jobs, options.workers)
        if local
        else ray_outcomes(jobs, options.address, options.cpus, options.gpus)
    )
    with console.progress(f"ff {options.task}", len(jobs)) as advance:
        for name, outcome in outcomes:
            state = state.after({name: outcome or Outcome("running")})
            if outcome is not None:
                advance(1, last=name)
                if outcome.error:
                    console.note(f"{name}: {outcome.error}")
    return _told(options, console, state, list(folders), len(before), monotonic() - started)


def _told(
    options: BatchOptions,
    console: Console,
    state: "BatchState",
    names: list[str],
    before: int,
    seconds: float,
) -> Summary:
    """The summary; where scenes failed an error that names them, after it."""
    done = [name for name in names if state.knows(name, "done")]
    failed = {name: state.scenes[name].error for name in names if state.knows(name, "failed")}
    taken = [state.scenes[name].seconds for name in done]
    summary = Summary(
        f"ff {options.task} of {len(names)} scenes",
        {
            "scenes": len(names),
            "done before": before,
            "done now": len(done) - before,
            "failed": len(failed),
            "seconds": round(seconds, 1),
            "seconds a scene": round(sum(taken) / len(taken), 1) if taken else None,
        },
        [options.output / STATE_FILE],
        details={
            "failures": failed,
            "results": {name: state.scenes[name].facts for name in done},
        },
    )
    if failed:
        if not console.json:
            console.show(summary)
        told = "; ".join(f"{name}: {error}" for name, error in failed.items())
        raise FittingError(
            f"{len(failed)} of {len(names)} scenes failed; the same command tries them again ({told})"
        )
    return summary
