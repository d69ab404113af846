"""`ff lift`: a few posed photos to a feature field in one pass, without fitting."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from .console import Console, Summary
from .features import FeatureOptions, find_extractor, lift_features
from .inputs import FIELD_FILE, check_downscale, existing
from .lifted_views import context_scene
from .options import ComputeOptions, Decimal, OptionalName, Output, ReportOptions, SeedOptions, WriteOptions

if TYPE_CHECKING:
    import torch

    from featurefields.field import FeatureField
    from featurefields.lifting.feedforward import Lifted
    from featurefields.raster import Rasterizer
    from featurefields.scene import Scene

Views = Annotated[tuple[str, ...], tyro.conf.arg(metavar="N|NAME ...", help_behavior_hint="(default: 8)")]


@dataclass(frozen=True, kw_only=True)
class LiftOptions:
    """Lift a few photos with poses to a feature field in seconds; nothing is fitted.

    Depth behind every pixel of the chosen views makes one Gaussian a pixel; what several views show is merged, and
    the features of a vision model are lifted onto the Gaussians. `ff fit --start` goes on from the result.
    """

    data: Path
    """Folder of the photos: nerfstudio transforms.json, COLMAP, or blender."""
    output: Output = Path("outputs")
    """Folder for the result; by default outputs/ and the name of the data's folder, with -lifted."""
    views: Views = ()
    """The views that are lifted: how many (spread over all that are not held out), or which, by name. All others
    are held out."""
    around: OptionalName = None
    """Take the views nearest to this one, which is held out, in the place of views spread over the scene."""
    geometry: str = "auto"
    """Where depth comes from: lifter (the learned network), sweep (matching without learning), data (depth maps
    beside the photos), splat:FIELD (an existing field or .ply), transformers:MODEL (a monocular depth model, aligned
    to the scene); auto is lifter where its weights are and sweep elsewhere."""
    kind: Literal["auto", "nerfstudio", "colmap", "blender"] = "auto"
    """How the poses are stored."""
    downscale: Decimal = None
    """Lift photos reduced by this factor; by default to 384 pixels along the longer side on the CPU and to 768 on a
    GPU."""
    no_surroundings: bool = False
    """Leave out the far sphere that shows what no surface covers (sky, unknown depth)."""
    lifting: tyro.conf.OmitArgPrefixes[FeatureOptions] = FeatureOptions()
    seed: tyro.conf.OmitArgPrefixes[SeedOptions] = SeedOptions()
    compute: tyro.conf.OmitArgPrefixes[ComputeOptions] = ComputeOptions()
    write: tyro.conf.OmitArgPrefixes[WriteOptions] = WriteOptions()
    report: tyro.conf.OmitArgPrefixes[ReportOptions] = ReportOptions()


def run(options: LiftOptions, console: Console) -> Summary:
    """Choose, look, lift, measure and write."""
    from featurefields.atomic import refuse_existing
    from featurefields.readers import read_scene

    existing(options.data)
    check_downscale(options.downscale)
    folder = options.output
    if folder == Path("outputs"):
        source = options.data.resolve()
        folder = folder / f"{(source if source.is_dir() else source.parent).name}-lifted"
    refuse_existing(folder / FIELD_FILE, options.write.overwrite)
    device, rasterizer = options.compute.torch_device(), options.compute.rasterizer()
    extractor = find_extractor(options.lifting.features, device, console)
    downscale = options.downscale or _suitable_downscale(
        read_scene(options.data, kind=options.kind, points=False), device.type
    )
    scene = read_scene(options.data, kind=options.kind, downscale=downscale)
    for note in (
        *scene.notes,
        *([f"{len(scene.missing)} listed photos are missing"] if scene.missing else []),
    ):
        console.note(note)
    scene = context_scene(scene, options.views, options.around)
    if extractor is not None:
        options.lifting.check(scene)
    started = time.monotonic()
    field, lifted = lift_geometry(
        scene, options.geometry, rasterizer, console, device=device, shell=not options.no_surroundings,
        notes={"downscale": downscale, "kind": options.kind},
    )  # fmt: skip
    middle = time.monotonic()
    if extractor is not None:
        field = lift_features(
            field, scene, extractor, rasterizer, console, options.lifting, seed=options.seed.seed
        )
    timing = {"geometry s": middle - started, "features s": time.monotonic() - middle}
    return _written(field, scene, lifted, folder, rasterizer, console, timing)


def lift_geometry(
    scene: "Scene",
    geometry: str,
    rasterizer: "Rasterizer",
    console: Console,
    *,
    device: "torch.device",
    shell: bool = True,
    notes: dict[str, object] | None = None,
) -> "tuple[FeatureField, Lifted]":
    """The field with its colours, from the scene's training views; with progress."""
    from featurefields.field import About, FeatureField
    from featurefields.heads.harmonics import HarmonicsHead
    from featurefields.lifting.context import posed_pictures
    from featurefields.lifting.feedforward import FeedForwardConfig, lift_pictures
    from featurefields.lifting.geometry import Given, choose_provider

    views = scene.split("train")
    points = None if scene.points is None else scene.points.positions
    given = Given(
        device=device, points=points, world_from_capture=scene.world_from_capture, rasterizer=rasterizer
    )
    name = _auto(console) if geometry == "auto" else geometry
    provider = choose_provider(name, given)
    with console.progress("reading photos", len(views)) as advance:
        pictures = posed_pictures(views, points, device=device, on_view=lambda: advance(1))
    with console.progress(f"finding depth ({provider.name})", len(views)) as advance:
        found = provider(pictures, on_view=lambda: advance(1))
    with console.progress("merging views", len(views)) as advance:
        lifted = lift_pictures(
            pictures, found, rasterizer, FeedForwardConfig(shell=shell), on_view=lambda: advance(1)
        )
    about = About(
        scene=scene.name,
        data=str(scene.folder.resolve()),
        world_from_capture=scene.world_from_capture,
        cameras=dict(scene.cameras()),
        notes={
            "geometry": provider.name,
            "context_views": [view.name for view in views],
            "test_views": [view.name for view in scene.split("test")],
            **(notes or {}),
        },
    )
    return FeatureField(lifted.splats.to("cpu"), {"rgb": HarmonicsHead(0)}, about), lifted


def _auto(console: Console) -> str:
    """The learned network where it can be had, else the sweep, telling why."""
    from featurefields.errors import UnavailableError
    from featurefields.lifting.geometry import Given, choose_provider

    try:
        choose_provider("lifter", Given())
    except UnavailableError as error:
        console.note(f"{error} — going on with --geometry sweep")
        return "sweep"
    return "lifter"


def _suitable_downscale(scene: "Scene", device: str) -> float:
    """Factor that brings the largest photo's longer side to what is lifted in seconds; 1 when it is smaller."""
    longest = max(max(view.camera.size) for view in scene.views)
    return max(1.0, longest / (384 if device == "cpu" else 768))


def _written(
    field: "FeatureField",
    scene: "Scene",
    lifted: "Lifted",
    folder: Path,
    rasterizer: "Rasterizer",
    console: Console,
    timing: dict[str, float],
) -> Summary:
    """Measure on some held-out views, write the archive, tell."""
    from dataclasses import replace

    from featurefields.evaluation.heldout import held_out_psnr, mean
    from featurefields.files.archive import write_archive

    from .lifted_views import measured_views

    held = measured_views(scene)
    with console.progress("measuring held-out views", len(held)) as advance:
        quality = mean(
            list(held_out_psnr(field, held, rasterizer=rasterizer, on_view=lambda: advance(1)).values())
        )
    notes = {**field.about.notes, "held_out_psnr": None if quality != quality else round(quality, 3)}
    path = write_archive(
        replace(field, about=replace(field.about, notes=notes)), folder / FIELD_FILE, overwrite=True
    )
    rows = {
        "geometry": notes["geometry"],
        "views lifted": len(scene.split("train")),
        "views held out": len(scene.split("test")),
        "size": "x".join(map(str, scene.views[0].camera.size)),
        "pixels with depth": lifted.known,
        "contradicted by other views": lifted.contradicted,
        "merged into other views": lifted.repeated,
        "splats": len(field),
        "of these surroundings": lifted.shell,
        f"PSNR dB of {len(held)} held-out views": round(quality, 2),
        "heads": list(field.heads),
        "feature variance kept": notes.get("feature_variance_kept"),
        **{label: round(value, 1) for label, value in timing.items()},
        "MB": round(path.stat().st_size / 1e6, 1),
    }
    return Summary(
        f"lifted {scene.name}", rows, [path],
        [f"ff eval {folder}", f"ff fit --data {scene.folder} --start {folder}"],
    )  # fmt: skip
