"""`ff plan`: memory, disk and minutes of a fit before it is run, and the settings that fit into a budget."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from featurefields.errors import FittingError

from .console import Console, Summary
from .features import Solver, find_extractor
from .inputs import existing
from .options import ComputeOptions, Decimal, ReportOptions, parse_size

if TYPE_CHECKING:
    from .forecast import Forecast, Memory

LEAST_LIFTING = 200 * 10**6
"""Lifting works with less, but makes every view anew in every pass."""
LEAST_SPLATS = 5_000


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """Foretell what `ff fit` will take: minutes a stage, memory and disk, and settings that fit into a budget.

    A few steps of the fit are run on this machine and timed, which takes some seconds. Nothing is written.
    """

    data: Path
    """Folder of the photos: nerfstudio transforms.json, COLMAP, or blender."""
    kind: Literal["auto", "nerfstudio", "colmap", "blender"] = "auto"
    """How the poses are stored."""
    downscale: Decimal = None
    """Photos reduced by this factor; by default as `ff fit` does."""
    steps: int = 4000
    """Pictures compared in stage 1."""
    splats: int = 50_000
    """Most Gaussians there will be."""
    colour: Literal["reflected", "harmonics"] = "reflected"
    """Colour model."""
    features: str = "auto"
    """Extractor, as for `ff fit`."""
    feature_dim: int = 32
    """Dimensions that features are stored in."""
    solver: Solver = "uplift"
    """How features are lifted."""
    budget: Annotated[str | None, tyro.conf.arg(metavar="SIZE", help_behavior_hint="")] = None
    """Memory that everything may take, the program included, such as 4GB; by default what is free now."""
    compute: tyro.conf.OmitArgPrefixes[ComputeOptions] = ComputeOptions()
    report: tyro.conf.OmitArgPrefixes[ReportOptions] = ReportOptions()


@dataclass(frozen=True)
class Choice:
    """Settings that fit into a budget.

    Attributes:
        splats: most Gaussians.
        downscale: by how much photos are reduced.
        lifting_bytes: `ff fit --budget`.
        fits: whether the forecast stays within the budget at all.
    """

    splats: int
    downscale: float
    lifting_bytes: int
    fits: bool


def run(options: PlanOptions, console: Console) -> Summary:
    """Measure, add up, choose."""
    from featurefields.fitting.appearance import AppearanceConfig
    from featurefields.fitting.densify import DensifyConfig
    from featurefields.lifting.stage import LiftingConfig
    from featurefields.readers import read_scene

    from .fit import suitable_downscale
    from .forecast import forecast, free_bytes, load_average, usable_cores

    existing(options.data)
    for name, value in (("--steps", options.steps), ("--splats", options.splats)):
        if value <= 0:
            raise FittingError(f"{name} must be positive, got {value}; leave it out for the default")
    budget = free_bytes() if options.budget is None else parse_size(options.budget, "--budget")
    device, rasterizer = options.compute.torch_device(), options.compute.rasterizer()
    extractor = find_extractor(options.features, device, console)
    whole = read_scene(options.data, kind=options.kind, points=False)
    downscale = options.downscale or suitable_downscale(whole, device.type)
    scene = read_scene(options.data, kind=options.kind, downscale=downscale)
    config = AppearanceConfig(
        steps=options.steps, colour=options.colour, densify=DensifyConfig(budget=options.splats)
    )
    lifting = LiftingConfig(dim=options.feature_dim, solver=options.solver)
    with console.progress("running a few steps", 2) as advance, tempfile.TemporaryDirectory() as scratch:
        found = forecast(
            scene, config, lifting, extractor, rasterizer, device, Path(scratch), on_stage=advance
        )
    load, cores = load_average(), usable_cores()
    if load > cores + 1:
        console.note(
            f"other programs are at work (load {load:.1f} on {cores} processors): minutes are of this machine as busy "
            "as it is"
        )
    choice = chosen(found.memory, budget, options.splats, downscale, reached=found.splats)
    if budget is not None and not choice.fits:
        console.note(
            f"even {choice.splats:,} splats of photos reduced by {choice.downscale:g} take more than "
            f"{budget / 1e9:.1f} GB: the program alone takes {found.memory.program / 1e9:.1f} GB"
        )
    return Summary(
        f"what fitting {scene.name} will take here",
        _rows(found, budget, len(scene.split("train")), scene.views[0].camera.size),
        details={"seconds": {"fit": found.fit_s, "features": found.lift_s}, "choice": vars(choice)},
        next=[_command(options, choice, downscale)],
    )


def chosen(
    memory: "Memory", budget: int | None, splats: int, downscale: float, *, reached: int | None = None
) -> Choice:
    """What to change until everything fits: views kept while lifting first, then photos, then Gaussians.

    `reached`: how many Gaussians the table of `memory` has, where that is not `splats`.
    """
    if budget is None or memory.total <= budget:
        return Choice(splats, downscale, max(memory.lifting, 4 * 10**9), True)
    most = min(splats, reached or splats)
    photos, table, count, factor = memory.photos, memory.table, most, downscale
    while (left := budget - memory.program - photos - table) < LEAST_LIFTING:
        if photos > table and factor < 8 * downscale:
            factor, photos = factor * 1.25, int(photos / 1.25**2)
        elif count > LEAST_SPLATS:
            count, table = max(LEAST_SPLATS, int(0.8 * count)), int(0.8 * table)
        else:
            return Choice(count, factor, LEAST_LIFTING, False)
    return Choice(splats if count == most else count, factor, left, True)


def _rows(found: "Forecast", budget: int | None, views: int, size: tuple[int, int]) -> dict[str, object]:
    memory = found.memory
    return {
        "views to fit": views,
        "size": f"{size[0]}x{size[1]}",
        "splats at the end": found.splats,
        "fit minutes": found.fit_s / 60,
        "features minutes": found.lift_s / 60,
        "minutes in all": (found.fit_s + found.lift_s) / 60,
        "memory GB": memory.total / 1e9,
        "program GB": memory.program / 1e9,
        "photos GB": memory.photos / 1e9,
        "splats GB": memory.table / 1e9,
        "lifting GB": memory.lifting / 1e9,
        "budget GB": None if budget is None else budget / 1e9,
        "field on disk MB": found.archive_bytes / 1e6,
        "checkpoint MB": found.checkpoint_bytes / 1e6,
        "feature cache MB": found.cache_bytes / 1e6,
    }


def _command(options: PlanOptions, choice: Choice, downscale: float) -> str:
    """The `ff fit` that was planned."""
    words = ["ff fit", "--data", str(options.data)]
    usual = replace(options, data=options.data, budget=None, compute=ComputeOptions(), report=ReportOptions())
    default = PlanOptions(data=options.data)
    for name in ("kind", "steps", "colour", "features", "feature_dim", "solver"):
        if getattr(usual, name) != getattr(default, name):
            words += [f"--{name.replace('_', '-')}", str(getattr(usual, name))]
    if options.downscale is not None or choice.downscale != downscale:
        words += ["--downscale", f"{choice.downscale:.3g}"]
    if choice.splats != default.splats:
        words += ["--splats", str(choice.splats)]
    if choice.lifting_bytes < 4 * 10**9:
        words += ["--budget", f"{choice.lifting_bytes / 1e6:.0f}MB"]
    return " ".join(words)
