"""`ff fit`: photos with poses to a multi-field splat."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from featurefields.errors import FittingError

from .console import Console, Summary
from .features import FeatureOptions, find_extractor, lift_features
from .inputs import FIELD_FILE, existing, load_field
from .options import ComputeOptions, Decimal, OptionalPath, Output, ReportOptions, SeedOptions, WriteOptions

if TYPE_CHECKING:
    import torch

    from featurefields.field import FeatureField
    from featurefields.fitting.appearance import AppearanceConfig
    from featurefields.fitting.start import Start
    from featurefields.raster import Rasterizer
    from featurefields.scene import Scene

CHECKPOINT_FILE = "checkpoint.safetensors"


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """Fit Gaussians with colours, reflections and features to posed photos.

    Stage 1 fits geometry and colour, split into view-independent and reflected light; stage 2 lifts the features of
    a vision model onto the Gaussians, split likewise. Interrupt at any time and go on with --resume.
    """

    data: Path
    """Folder of the photos: nerfstudio transforms.json, COLMAP, or blender."""
    output: Output = Path("outputs")
    """Folder for the result; by default outputs/ and the name of the data's folder."""
    kind: Literal["auto", "nerfstudio", "colmap", "blender"] = "auto"
    """How the poses are stored."""
    downscale: Decimal = None
    """Fit photos reduced by this factor; by default large ones are reduced to 1000 pixels along the longer side on the
    CPU and to 1600 on a GPU."""
    steps: int = 4000
    """Pictures compared in stage 1."""
    splats: int = 50_000
    """Most Gaussians there will be."""
    colour: Literal["reflected", "harmonics"] = "reflected"
    """Colour model: matter plus reflections, or ordinary spherical harmonics."""
    light: Literal["map", "network"] = "map"
    """What reflections mirror: one picture of the surroundings, or a small network."""
    walls: bool = True
    """The mirrored surroundings are as far as six learned planes; without, infinitely far."""
    near: Literal[0, 1, 2, 3] = 3
    """Degree of the reflections that every Gaussian has for itself; 0 leaves only those of far surroundings."""
    unveil: bool = True
    """Late in stage 1, what is mirrored alike from everywhere goes from matter to the surroundings."""
    no_priors: bool = False
    """Fit without beliefs about surfaces and reflections, to see what they are worth."""
    resume: bool = False
    """Continue an interrupted fit from its checkpoint."""
    start: OptionalPath = None
    """Start from the Gaussians of this field or .ply of the same scene (such as `ff lift` writes) in the place of the
    scene's points."""
    lifting: tyro.conf.OmitArgPrefixes[FeatureOptions] = FeatureOptions()
    seed: tyro.conf.OmitArgPrefixes[SeedOptions] = SeedOptions()
    compute: tyro.conf.OmitArgPrefixes[ComputeOptions] = ComputeOptions()
    write: tyro.conf.OmitArgPrefixes[WriteOptions] = WriteOptions()
    report: tyro.conf.OmitArgPrefixes[ReportOptions] = ReportOptions()


def run(options: FitOptions, console: Console) -> Summary:
    """Read, fit, lift, measure and write."""
    from featurefields.atomic import refuse_existing
    from featurefields.fitting.appearance import AppearanceConfig
    from featurefields.fitting.densify import DensifyConfig
    from featurefields.fitting.priors import NONE, PriorWeights
    from featurefields.readers import read_scene

    existing(options.data)
    for name, value in (
        ("--steps", options.steps),
        ("--splats", options.splats),
        ("--downscale", 1 if options.downscale is None else options.downscale),
    ):
        if value <= 0:
            raise FittingError(f"{name} must be positive, got {value}; leave it out for the default")
    folder = options.output
    if folder == Path("outputs"):
        folder = folder / (
            options.data.resolve().name if options.data.is_dir() else options.data.resolve().parent.name
        )
    checkpoint = folder / CHECKPOINT_FILE
    if options.resume and not checkpoint.exists():
        raise FittingError(
            f"there is no interrupted fit in {folder} to go on with (no {CHECKPOINT_FILE}); fit without --resume"
        )
    refuse_existing(folder / FIELD_FILE, options.write.overwrite or options.resume)
    rasterizer = options.compute.rasterizer()
    extractor = find_extractor(options.lifting.features, options.compute.torch_device(), console)
    downscale = options.downscale or suitable_downscale(
        read_scene(options.data, kind=options.kind, points=False), options.compute.torch_device().type
    )
    scene = read_scene(options.data, kind=options.kind, downscale=downscale)
    if extractor is not None:
        options.lifting.check(scene)
    if options.downscale is None and downscale != 1:
        console.note(f"photos are reduced by {downscale:.2f} (--downscale 1 keeps them whole)")
    for note in (
        *scene.notes,
        *([f"{len(scene.missing)} listed photos are missing"] if scene.missing else []),
    ):
        console.note(note)
    start = starting_field(options.start, scene) if options.start is not None else None
    budget = options.splats
    if start is not None and len(start.splats) > budget:
        budget = len(start.splats)
        console.note(
            f"the start has {budget:,} Gaussians, more than --splats {options.splats:,}; none are added"
        )
    config = AppearanceConfig(
        steps=options.steps,
        colour=options.colour,
        light=options.light,
        walls=options.walls,
        unveil_at=AppearanceConfig.unveil_at if options.unveil else 1.0,
        near=options.near,
        priors=NONE if options.no_priors else PriorWeights(),
        seed=options.seed.seed,
        densify=DensifyConfig(budget=budget),
    )
    started = time.monotonic()
    notes: dict[str, object] = {"downscale": downscale, "kind": options.kind}
    field = fit_appearance(
        scene, config, rasterizer, console, device=options.compute.torch_device(), start=start, checkpoint=checkpoint,
        resume=options.resume, notes=notes,
    )  # fmt: skip
    fitted = time.monotonic()
    if extractor is not None:
        field = lift_features(
            field, scene, extractor, rasterizer, console, options.lifting, seed=options.seed.seed
        )
    lifted = time.monotonic()
    return write_result(
        field, scene, folder, rasterizer, console, timing={"fit s": fitted - started, "features s": lifted - fitted},
        missing=len(scene.missing),
    )  # fmt: skip


def starting_field(path: Path, scene: "Scene") -> "Start":
    """The Gaussians at `path`, in the frame of the scene.

    Raises:
        FileFormatError: there is no field.
        SceneError: it was made from another scene.
        FittingError: it has no colours.
    """
    from featurefields.fitting.start import Start

    from .held_out import in_frame, refuse_other_scene

    field = load_field(path)
    refuse_other_scene(in_frame(field, scene.world_from_capture), scene)
    return Start.of(field, scene)


def suitable_downscale(scene: "Scene", device: str) -> float:
    """Factor that brings the largest photo's longer side to what the device fits in minutes; 1 when it is smaller."""
    from featurefields.fitting.photos import longest_px

    longest = max(max(view.camera.size) for view in scene.views)
    return max(1.0, longest / longest_px(device))


def fit_appearance(
    scene: "Scene",
    config: "AppearanceConfig",
    rasterizer: "Rasterizer",
    console: Console,
    *,
    device: "torch.device | str" = "cpu",
    start: "Start | None" = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    notes: dict[str, object] | None = None,
) -> "FeatureField":
    """Stage 1 with progress."""
    from featurefields.fitting.appearance import AppearanceFit
    from featurefields.fitting.loop import finished_field, load_checkpoint, run_fit

    with console.progress("reading photos", len(scene.split("train"))) as advance:
        fit = AppearanceFit(
            scene,
            config,
            rasterizer=rasterizer,
            device=device,
            start=start,
            on_photo=lambda: advance(1),
        )
    if resume and checkpoint is not None:
        load_checkpoint(fit, scene, checkpoint)
        console.note(f"resuming at step {fit.step}")
    with console.progress("fitting colour and geometry", config.steps - fit.step) as advance:
        run_fit(
            fit, scene, checkpoint=checkpoint,
            on_step=lambda facts: advance(1, loss=f"{facts['loss']:.4f}", splats=int(facts["splats"])),
        )  # fmt: skip
    return finished_field(fit, scene, notes or {})


def write_result(
    field: "FeatureField",
    scene: "Scene",
    folder: Path,
    rasterizer: "Rasterizer",
    console: Console,
    *,
    timing: dict[str, float],
    missing: int,
) -> Summary:
    """Measure on the held-out views, write the archive, drop the checkpoint."""
    from dataclasses import replace

    from featurefields.evaluation.heldout import held_out_psnr, mean
    from featurefields.files.archive import write_archive

    held = scene.split("test")
    with console.progress("measuring held-out views", len(held)) as advance:
        values = held_out_psnr(field, held, rasterizer=rasterizer, on_view=lambda: advance(1))
    quality = mean(list(values.values()))
    notes = {**field.about.notes, "held_out_psnr": None if quality != quality else round(quality, 3)}
    path = write_archive(
        replace(field, about=replace(field.about, notes=notes)), folder / FIELD_FILE, overwrite=True
    )
    (folder / CHECKPOINT_FILE).unlink(missing_ok=True)
    told = field.about.notes
    rows = {
        "views fitted": len(scene.split("train")),
        "views held out": len(held),
        "photos missing": missing,
        "size": "x".join(map(str, scene.views[0].camera.size)),
        "splats": len(field),
        "held-out PSNR dB": round(quality, 2),
        "heads": list(field.heads),
        "solver": told.get("solver"),
        "feature loss": told.get("feature_loss"),
        "feature variance kept": told.get("feature_variance_kept"),
        **{label: round(value, 1) for label, value in timing.items()},
        "MB": round(path.stat().st_size / 1e6, 1),
    }
    view = (held or scene.views)[0].name
    return Summary(
        f"fitted {scene.name}",
        rows,
        [path],
        [
            f"ff render {folder} -o {folder}/views",
            f"ff segment {folder} --view {Path(view).name} --click X,Y",
        ],
    )
