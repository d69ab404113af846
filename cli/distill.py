"""`ff distill`: a 2D backbone learns features that other views agree on."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from featurefields.errors import FittingError

from .console import Console, Summary
from .options import (
    ComputeOptions,
    Decimal,
    OptionalPath,
    Output,
    ReportOptions,
    SeedOptions,
    Size,
    WriteOptions,
    parse_size,
)

if TYPE_CHECKING:
    from featurefields.distillation.distributed import World
    from featurefields.distillation.train import Distillation, DistillConfig

MODEL_FOLDER = "model"
Folders = Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FOLDER ...", help_behavior_hint="(required)")]


@dataclass(frozen=True, kw_only=True)
class StudentOptions:
    """What is trained."""

    train: Literal["auto", "lora", "full"] = "auto"
    """lora: low-rank additions to the attention, merged at the end; full: every weight. auto: lora for transformers,
    full for convolutional networks."""
    rank: int = 8
    """Rank of the additions."""
    alpha: float = 8.0
    """They count alpha / rank times."""
    dropout: float = 0.1
    """Share of their inputs left out in training."""


@dataclass(frozen=True, kw_only=True)
class TeacherOptions:
    """What is learned from."""

    momentum: float = 0.999
    """Share of itself that the teacher keeps when it follows the student."""
    every: int = 10
    """Steps after which it follows."""
    frozen_teacher: bool = False
    """The teacher stays the network as it was (an ablation)."""
    geometry: str = "data"
    """Where surfaces come from: data (depth maps of the photos), fitted:PATTERN (fields that `ff fit` wrote; {scene} in
    the pattern is the scene's name; features are lifted anew as the teacher moves), or a source that `ff lift` knows,
    such as lifter or sweep."""
    blend: float = 0.5
    """Share of a pixel's own features in its target; the rest is the mean of its segment. 1: no blending, which suits
    correspondence best."""
    upsampling: Literal["mask-aware", "bilinear"] = "mask-aware"
    """From tokens to pixels: within segments or across them."""
    masks: Literal["given", "automatic", "none"] = "given"
    """Segments: instance masks of the data where photos have them, regions of similar colour, or none. Without segments
    nothing is blended."""
    contexts: int = 2
    """Views that the teacher sees for one target."""
    overlap: tuple[float, float] = (0.3, 0.95)
    """A context sees at least and at most this share of what the target sees."""
    scale: float = 0.5
    """Size of the pictures that features are splatted in, as a share of the photo's."""


@dataclass(frozen=True, kw_only=True)
class DistillOptions:
    """Splat and distil: teach a 2D backbone features that other views agree on.

    The student sees a photo. The teacher, its running mean, sees other photos of the same place; its features are put
    on the surfaces there, drawn from the student's place, and are what the student learns to say. The result is an
    ordinary folder of the transformers library, and at once an extractor: --features transformers:FOLDER. Several
    processes: `torchrun --nproc-per-node N --no-python ff distill …`.
    """

    data: Folders
    """Scenes with poses, or folders of such scenes: nerfstudio, COLMAP, blender, ScanNet++."""
    features: str
    """Backbone: transformers:FOLDER or hub id, dinov2, dinov2-base."""
    output: Output = Path("outputs/distilled")
    """Folder for checkpoint, logs and the trained network (in model/)."""
    export: OptionalPath = None
    """Another folder for the trained network."""
    downscale: float = 1.0
    """Photos are reduced by this factor first."""
    steps: int = 20_000
    """Updates of the student."""
    batch: int = 4
    """Targets for one update, in each process."""
    accumulate: int = 1
    """Batches for one update."""
    rate: float = 2e-5
    """Highest step size of Adam; it follows one cycle."""
    loss: Literal["cosine", "centred", "direct", "dino"] = "cosine"
    """cosine: 1 - cosine of tokens; centred: the same of what is left without the targets' running mean; direct: their
    squared difference; dino: cross-entropy over learned prototypes."""
    prototypes: int = 65_536
    """Prototypes of the loss dino."""
    precision: Literal["full", "bf16", "fp16"] = "full"
    """What the networks compute in; weights stay in single precision."""
    student: tyro.conf.OmitArgPrefixes[StudentOptions] = StudentOptions()
    teacher: tyro.conf.OmitArgPrefixes[TeacherOptions] = TeacherOptions()
    resume: bool = False
    """Go on from the checkpoint in the output folder."""
    save_every: float = 120.0
    """Seconds between checkpoints."""
    stop_after: Decimal = None
    """Stop after so many seconds, as Ctrl-C would, and keep the checkpoint."""
    budget: Size = "2GB"
    """Memory for photos that have been read."""
    seed: tyro.conf.OmitArgPrefixes[SeedOptions] = SeedOptions()
    compute: tyro.conf.OmitArgPrefixes[ComputeOptions] = ComputeOptions()
    write: tyro.conf.OmitArgPrefixes[WriteOptions] = WriteOptions()
    report: tyro.conf.OmitArgPrefixes[ReportOptions] = ReportOptions()

    def config(self) -> "DistillConfig":
        """The same for the library. Raises `FittingError` when a number makes no sense."""
        from featurefields.distillation.student import StudentConfig
        from featurefields.distillation.targets import TargetConfig
        from featurefields.distillation.train import DistillConfig, TeacherConfig

        self._check()
        momentum = 1.0 if self.teacher.frozen_teacher else self.teacher.momentum
        return DistillConfig(
            steps=self.steps,
            batch=self.batch,
            accumulate=self.accumulate,
            rate=self.rate,
            loss=self.loss,
            prototypes=self.prototypes,
            precision=self.precision,
            student=StudentConfig(
                train=self.student.train,
                rank=self.student.rank,
                alpha=self.student.alpha,
                dropout=self.student.dropout,
            ),
            teacher=TeacherConfig(momentum=momentum, every=self.teacher.every),
            target=TargetConfig(blend=self.teacher.blend, upsampling=self.teacher.upsampling),
            seed=self.seed.seed,
        )

    def _check(self) -> None:
        positive = {
            "--steps": self.steps, "--batch": self.batch, "--accumulate": self.accumulate, "--rate": self.rate,
            "--prototypes": self.prototypes, "--rank": self.student.rank, "--every": self.teacher.every,
            "--contexts": self.teacher.contexts, "--scale": self.teacher.scale,
        }  # fmt: skip
        shares = {
            "--dropout": self.student.dropout, "--momentum": self.teacher.momentum, "--blend": self.teacher.blend,
            "--overlap": self.teacher.overlap[0],
        }  # fmt: skip
        for name, value in positive.items():
            if value <= 0:
                raise FittingError(f"{name} must be positive, got {value}; leave it out for the default")
        for name, value in shares.items():
            if not 0 <= value <= 1:
                raise FittingError(
                    f"{name} is a share from 0 to 1, got {value}; leave it out for the default"
                )


def run(options: DistillOptions, console: Console) -> Summary:
    """Read, train, export. Of several processes the first tells what all have done; the others end without a word."""
    from featurefields.distillation.distributed import joined

    with joined(options.compute.torch_device()) as world:
        summary = _run(options, console if world.rank == 0 else Console(json=True), world)
    if world.rank:
        raise SystemExit(0)
    return summary


def _run(options: DistillOptions, console: Console, world: "World") -> Summary:
    from featurefields.atomic import refuse_existing
    from featurefields.distillation.loop import CHECKPOINT_FILE, identity_of, load_checkpoint
    from featurefields.distillation.train import Distillation

    from .distill_data import pairs_of, reconstructor, scenes_in, seen_views, trainable

    config = options.config()
    folder = options.output
    model_folder = options.export or folder / MODEL_FOLDER
    checkpoint = folder / CHECKPOINT_FILE
    if options.resume and not checkpoint.exists():
        raise FittingError(
            f"there is no training in {folder} to go on with (no {CHECKPOINT_FILE}); leave out --resume"
        )
    if world.rank == 0:
        refuse_existing(model_folder, options.write.overwrite or options.resume)
        refuse_existing(checkpoint, options.write.overwrite or options.resume)
    device, rasterizer = options.compute.torch_device(), options.compute.rasterizer()
    backbone = trainable(options.features, device)
    scenes = scenes_in(options.data, options.downscale, console)
    views = seen_views(
        scenes, options.teacher.masks, options.teacher.scale, parse_size(options.budget, "--budget")
    )
    reconstruct, surfaces = reconstructor(options.teacher.geometry, scenes, rasterizer, device)
    pairs = pairs_of(scenes, views, surfaces, options.teacher.contexts, options.teacher.overlap, console)
    training = Distillation(
        backbone, views, pairs, reconstruct, rasterizer, config, world=world, device=device
    )
    identity = identity_of(
        backbone.fingerprint, [view for scene in scenes for view in scene.split("train")], world.size,
        geometry=options.teacher.geometry, masks=options.teacher.masks, scale=options.teacher.scale,
        contexts=options.teacher.contexts, overlap=list(options.teacher.overlap),
    )  # fmt: skip
    if options.resume:
        load_checkpoint(training, checkpoint, identity)
        console.note(f"resuming at step {training.step}")
    started = time.monotonic()
    losses = _train(options, console, training, identity)
    facts = {
        "scenes": len(scenes),
        "views": len(views),
        "targets": len(pairs.targets),
        "steps": training.step,
        "processes": world.size,
        "trained weights": sum(one.numel() for one in training.trained.values()),
        "first loss": _mean(losses[:20]),
        "last loss": _mean(losses[-20:]),
        "training s": round(time.monotonic() - started, 1),
    }
    return _export(options, training, model_folder, facts)


def _train(
    options: DistillOptions, console: Console, training: "Distillation", identity: dict[str, object]
) -> list[float]:
    from featurefields.distillation.loop import run_training

    started = time.monotonic()

    def told(facts: dict[str, float]) -> None:
        advance(1, loss=f"{facts['loss']:.4f}", valid=f"{facts['valid']:.2f}")
        if options.stop_after is not None and time.monotonic() - started > options.stop_after:
            raise KeyboardInterrupt

    with console.progress("distilling", training.config.steps - training.step) as advance:
        return run_training(
            training, options.output, identity=identity, every_s=options.save_every, on_step=told
        )


def _export(
    options: DistillOptions, training: "Distillation", folder: Path, facts: dict[str, object]
) -> Summary:
    from featurefields.distillation.export import export_backbone
    from featurefields.distillation.loop import CHECKPOINT_FILE

    if training.world.rank == 0:
        notes = {"from": options.features, **{label.replace(" ", "_"): fact for label, fact in facts.items()}}
        export_backbone(
            training.student, folder, notes=notes,
            overwrite=options.write.overwrite or options.resume,
        )  # fmt: skip
    training.world.wait()
    return Summary(
        f"distilled {options.features}",
        facts,
        [folder, options.output / CHECKPOINT_FILE],
        [
            f"ff fit --data SCENE --features transformers:{folder}",
            f"ff probe --data SCENE --features transformers:{folder}",
        ],
    )


def _mean(values: list[float]) -> float | None:
    return round(sum(values) / len(values), 5) if values else None
