"""`ff train-lifter`: trains the feed-forward geometry network of `ff lift`."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from featurefields.errors import FittingError, UnavailableError

from .console import Console, Summary
from .options import ComputeOptions, OptionalPath, Output, ReportOptions, SeedOptions, WriteOptions

if TYPE_CHECKING:
    from featurefields.lifting.lifter.practice import Practice
    from featurefields.lifting.lifter.training import Training

CHECKPOINT_FILE, WEIGHTS_FILE, RECORD_FILE, LOG_FILE = (
    "checkpoint.safetensors", "lifter.safetensors", "lifter.json", "log.jsonl",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TrainLifterOptions:
    """Train the network behind `ff lift --geometry lifter` on posed pictures with depth.

    Practice scenes are made up as needed (random things, rooms and thickets, photographed by ray casting); scenes of
    your own may be added, or used alone with --scenes 0. Interrupt at any time and go on with --resume.
    """

    output: Output = Path("outputs/lifter")
    """Folder for the weights, their record, the log and the checkpoint."""
    scenes: int = 400
    """Practice scenes to make up."""
    practice: OptionalPath = None
    """Folder where practice scenes are kept and found again; by default practice/ in the output folder."""
    practice_seed: int = 1000
    """Seed of the first practice scene."""
    data: tuple[Path, ...] = ()
    """Further scenes with depth maps: nerfstudio, COLMAP or blender folders with pictures of one size."""
    held_out: int = 8
    """Of all scenes, how many (the last ones) are measured and not trained on."""
    steps: int = 4000
    """Scenes looked at."""
    views: int = 5
    """Views of a scene compared in a step."""
    references: int = 2
    """Views whose depth is asked for in a step."""
    rate: float = 1e-3
    """Learning rate."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What convolutions calculate with in training; bfloat16 is up to three times as fast where processors have it."""
    save_every_s: float = 120.0
    """Seconds between two checkpoints, each with measured errors and weights that can be used."""
    resume: bool = False
    """Continue an interrupted training from its checkpoint."""
    seed: tyro.conf.OmitArgPrefixes[SeedOptions] = SeedOptions()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes a CUDA device when there is one."""
    write: tyro.conf.OmitArgPrefixes[WriteOptions] = WriteOptions()
    report: tyro.conf.OmitArgPrefixes[ReportOptions] = ReportOptions()


def run(options: TrainLifterOptions, console: Console) -> Summary:
    """Make scenes, train, measure and write."""
    from featurefields.atomic import refuse_existing
    from featurefields.lifting.lifter.practice import Practice
    from featurefields.lifting.lifter.training import Training, TrainingConfig

    _check(options)
    folder = options.output
    checkpoint = folder / CHECKPOINT_FILE
    if options.resume and not checkpoint.exists():
        raise FittingError(
            f"there is no training in {folder} to go on with (no {CHECKPOINT_FILE}); train without --resume"
        )
    device = ComputeOptions(device=options.device).torch_device()
    refuse_existing(folder / WEIGHTS_FILE, options.write.overwrite or options.resume)
    loaders = _loaders(options, console)
    if len(loaders) < options.held_out + 1:
        raise FittingError(
            f"{len(loaders)} scenes leave none to train on when --held-out is {options.held_out}; give more scenes"
        )
    split = len(loaders) - options.held_out
    train, held = Practice(loaders[:split]), Practice(loaders[split:])
    config = TrainingConfig(
        steps=options.steps, views=options.views, references=options.references, rate=options.rate,
        half=options.precision == "bfloat16", seed=options.seed.seed,
    )  # fmt: skip
    training = Training(train, config, device=device)
    if options.resume:
        training.load(checkpoint)
    started = time.monotonic()
    _train(training, held, options, console)
    record = save(training, held, options)
    rows = {
        "steps": training.step, "training scenes": len(train), "train s": round(time.monotonic() - started, 1),
        **{f"held-out {name}": value for name, value in record["held_out"].items()},
        "MB": round((folder / WEIGHTS_FILE).stat().st_size / 1e6, 2),
    }  # fmt: skip
    paths = [folder / name for name in (WEIGHTS_FILE, RECORD_FILE, LOG_FILE)]
    return Summary("trained the lifter", rows, paths, [f"ff lift --data SCENE --geometry lifter:{paths[0]}"])


def _check(options: TrainLifterOptions) -> None:
    for name in ("steps", "views", "references", "rate", "save_every_s"):
        if getattr(options, name) <= 0:
            raise FittingError(f"--{name.replace('_', '-')} must be positive, got {getattr(options, name)}")
    if options.views < 2:
        raise FittingError(
            f"--views must be at least 2 (a picture is compared with others), got {options.views}"
        )
    if min(options.scenes, options.held_out) < 0:
        raise FittingError("--scenes and --held-out cannot be negative")


def _loaders(options: TrainLifterOptions, console: Console) -> list:
    """One reader a scene: scenes given first, then practice scenes, photographed where they are missing."""
    from functools import partial

    from featurefields.lifting.lifter.practice import load_practice_scene
    from featurefields.readers import read_scene

    from .inputs import existing

    def read(folder: Path):
        return load_practice_scene(read_scene(folder, points=False))

    folders = [existing(path) for path in options.data]
    if options.scenes:
        try:
            import open3d  # noqa: F401
        except ImportError as error:
            raise UnavailableError(
                f"practice scenes need open3d: {error}; pip install 'featurefields[mesh]', or --scenes 0 with --data"
            ) from error
        from featurefields_assets.practice.folder import write_practice_scene

        where = options.practice or options.output / "practice"
        with console.progress("practice scenes", options.scenes) as advance:
            for number in range(options.scenes):
                folders.append(write_practice_scene(where, options.practice_seed, number))
                advance()
    return [partial(read, folder) for folder in folders]


def _train(training: "Training", held: "Practice", options: TrainLifterOptions, console: Console) -> None:
    """The remaining steps; the log has one JSON line every 20 steps and at every checkpoint."""
    from featurefields.fitting.loop import interrupts_held

    saved, since = time.monotonic(), []
    options.output.mkdir(parents=True, exist_ok=True)
    try:
        with console.progress("training", options.steps - training.step) as advance:
            while training.step < options.steps:
                with interrupts_held():
                    facts = training.run_step()
                since.append(facts)
                advance(1, loss=facts["loss"], error=facts["median error"])
                if len(since) == 20:
                    _log(options, {"step": training.step, "rate": training.rate(), **_mean(since)})
                    since = []
                if time.monotonic() - saved > options.save_every_s:
                    save(training, held, options)
                    saved = time.monotonic()
    except KeyboardInterrupt:
        save(training, held, options)
        raise


def save(training: "Training", held: "Practice", options: TrainLifterOptions) -> dict:
    """Checkpoint, measured errors, averaged weights and their record."""
    from featurefields import __version__
    from featurefields.atomic import write_bytes
    from featurefields.lifting.lifter.training import held_out_errors
    from featurefields.lifting.lifter.weights import save_lifter

    training.save(options.output / CHECKPOINT_FILE)
    errors = _mean(held_out_errors(training.averaged, held, options.views))
    record = {
        "command": command_of(options), "version": __version__, "step": training.step,
        "training": asdict(training.config), "practice_seed": options.practice_seed, "practice_scenes": options.scenes,
        "data": [path.name for path in options.data], "held_out_scenes": options.held_out, "held_out": errors,
    }  # fmt: skip
    save_lifter(options.output / WEIGHTS_FILE, training.averaged, record, overwrite=True)
    write_bytes(options.output / RECORD_FILE, _json(record, indent=1).encode(), overwrite=True)
    _log(options, {"step": training.step, "held_out": errors})
    return record


def command_of(options: TrainLifterOptions) -> str:
    """The command line that trains so again, without what only says where files are."""
    import shlex

    words = ["ff", "train-lifter"]
    for name in ("scenes", "practice_seed", "held_out", "steps", "views", "references", "rate", "precision"):
        words += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    words += ["--seed", str(options.seed.seed)]
    return shlex.join(words + (["--data", *(path.name for path in options.data)] if options.data else []))


def _mean(facts: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each fact over those that are numbers."""
    from math import isfinite

    names = facts[0] if facts else {}
    found = {name: [fact[name] for fact in facts if isfinite(fact[name])] for name in names}
    return {name: round(sum(values) / max(1, len(values)), 5) for name, values in found.items()}


def _log(options: TrainLifterOptions, entry: Mapping[str, object]) -> None:
    with open(options.output / LOG_FILE, "a", encoding="utf-8") as log:
        log.write(_json(entry) + "\n")


def _json(content: Mapping[str, object], indent: int | None = None) -> str:
    import json

    return json.dumps(content, indent=indent) + ("\n" if indent else "")
