"""What a fit will take, foretold from a few of its own steps on this machine.

Nothing is modelled that can be measured: a sample of the photos is read, some steps are run at the sizes and numbers of
Gaussians that the fit will go through, and features are lifted from one and from three views.

Letters: n Gaussians · v views.
"""

import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch

    from featurefields.field import FeatureField
    from featurefields.fitting.appearance import AppearanceConfig, AppearanceFit
    from featurefields.lifting.stage import LiftingConfig
    from featurefields.raster import Rasterizer
    from featurefields.scene import Scene, View
    from featurefields.vision.interface import Extractor

SAMPLE = 4
"""Photos that are looked at."""
TIMED = 5
"""Steps that are timed; the median counts."""
FLOATS_KEPT = 4
"""Numbers that a fit keeps for every number of a Gaussian: itself, its gradient, two moments of Adam."""


@dataclass(frozen=True)
class StepCosts:
    """Seconds of one step, and at which numbers of Gaussians.

    Attributes:
        first: Gaussians at the start.
        last: at the end.
        half_s: with photos of half size, at the start.
        first_s: with whole photos, at the start.
        last_s: with whole photos, at the end.
    """

    first: int
    last: int
    half_s: float
    first_s: float
    last_s: float

    def at(self, count: int, *, half: bool) -> float:
        """Seconds of a step with `count` Gaussians: linear between what was measured."""
        share = (count - self.first) / max(self.last - self.first, 1)
        whole = self.first_s + share * (self.last_s - self.first_s)
        return whole * self.half_s / self.first_s if half else whole


@dataclass(frozen=True)
class Memory:
    """Bytes that a fit takes in all.

    Attributes:
        program: with everything loaded, one photo and no Gaussians to speak of.
        photos: all photos, as they are kept.
        table: the Gaussians and what their optimiser keeps.
        lifting: kept views and feature pictures, as far as the budget of lifting lets them.
    """

    program: int
    photos: int
    table: int
    lifting: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.program + self.photos + self.table + self.lifting


@dataclass(frozen=True)
class Forecast:
    """What a fit will take.

    Attributes:
        splats: Gaussians at the end.
        fit_s, lift_s: seconds of both stages.
        memory: peak of memory.
        archive_bytes, checkpoint_bytes, cache_bytes: what it writes: the field, while fitting, and extracted features.
    """

    splats: int
    fit_s: float
    lift_s: float
    memory: Memory
    archive_bytes: int
    checkpoint_bytes: int
    cache_bytes: int


def forecast(
    scene: "Scene",
    config: "AppearanceConfig",
    lifting: "LiftingConfig",
    extractor: "Extractor | None",
    rasterizer: "Rasterizer",
    device: "torch.device",
    scratch: Path,
    on_stage: "Callable[[], object]" = lambda: None,
) -> Forecast:
    """Measure samples of both stages. `scratch` is a folder for extracted features, which may be thrown away;
    `on_stage` is called after each stage."""
    from featurefields.fitting.appearance import AppearanceFit
    from featurefields.fitting.loop import finished_field

    views = scene.split("train")
    chosen = [
        views[index * len(views) // min(SAMPLE, len(views))] for index in range(min(SAMPLE, len(views)))
    ]
    sample = replace(scene, views=tuple(chosen))
    before = resident_bytes()
    fit = AppearanceFit(sample, config, rasterizer=rasterizer, device=device)
    costs = step_costs(fit)
    table = FLOATS_KEPT * sum(tensor.nbytes for tensor in fit.splats.tensors().values())
    peak = peak_bytes()
    field = finished_field(fit, sample, {})
    on_stage()
    photos = photo_bytes(views)
    lift_s, cache, lifted, kept = 0.0, 0, field, 0
    if extractor is not None:
        lift_s, cache, lifted, kept = _lifting(
            field, sample, len(views), lifting, extractor, rasterizer, scratch
        )
    on_stage()
    program = max(peak - table, before)
    return Forecast(
        splats=costs.last,
        fit_s=fit_seconds(costs, config),
        lift_s=lift_s,
        memory=Memory(program, photos, table, min(kept, lifting.budget_bytes)),
        archive_bytes=field_bytes(lifted),
        checkpoint_bytes=checkpoint_bytes(table),
        cache_bytes=cache,
    )


def step_costs(fit: "AppearanceFit") -> StepCosts:
    """Seconds of a step at the start, with half and whole photos, and with as many Gaussians as the fit will reach."""
    steps, first = fit.config.steps, len(fit.splats)
    half_s = _seconds(fit, int(0.5 * fit.config.half_until * steps)) if fit.config.half_until > 0 else None
    first_s = _seconds(fit, steps // 2)
    fit.grow(reached(first, fit.config))
    last_s = _seconds(fit, steps // 2)
    return StepCosts(first, len(fit.splats), half_s or first_s, first_s, last_s)


def _seconds(fit: "AppearanceFit", step: int) -> float:
    """Median seconds of some steps from `step` on; the first, which compiles, does not count."""
    taken = []
    for _ in range(TIMED + 1):
        fit.step = step  # stays, so that the table does not change
        started = time.perf_counter()
        fit.run_step()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


def fit_seconds(costs: StepCosts, config: "AppearanceConfig") -> float:
    """All steps, with the Gaussians growing as `DensifyConfig` says."""
    return sum(
        costs.at(min(count, costs.last), half=step < config.half_until * config.steps)
        for step, count in enumerate(counts(costs.first, config))
    )


def reached(first: int, config: "AppearanceConfig") -> int:
    """Gaussians at the end: as many as are allowed, or fewer where the steps are too few."""
    return [first, *counts(first, config)][-1]


def counts(first: int, config: "AppearanceConfig") -> "Iterator[int]":
    """Gaussians in every step, when every change adds the most that it may."""
    count = first
    for step in range(config.steps):
        if config.densify.due(step, config.steps):
            count = config.densify.grown(count)
        yield count


def _lifting(
    field: "FeatureField",
    sample: "Scene",
    count: int,
    config: "LiftingConfig",
    extractor: "Extractor",
    rasterizer: "Rasterizer",
    scratch: Path,
) -> "tuple[float, int, FeatureField, int]":
    """Seconds for `count` views, bytes of their maps, a lifted field, and bytes of all kept views."""
    from featurefields.lifting.stage import lift_features
    from featurefields.raster import RasterConfig

    few = sample.views[1:] or sample.views
    lift_features(field, sample.views[:1], extractor, rasterizer, replace(config, cache=scratch / "warm"))
    taken = []
    for name, views in (("one", few[:1]), ("all", few)):
        started = time.perf_counter()
        lifted = lift_features(field, views, extractor, rasterizer, replace(config, cache=scratch / name))
        taken.append(time.perf_counter() - started)
    each = max(taken[1] - taken[0], 0.0) / max(len(few) - 1, 1)
    maps = sum(file.stat().st_size for file in (scratch / "all").rglob("*") if file.is_file())
    frozen = rasterizer.freeze(field.splats, few[0].camera.to(field.splats.means), RasterConfig())
    return taken[0] + (count - 1) * each, maps * count // len(few), lifted, frozen.nbytes * count


def photo_bytes(views: "Sequence[View]") -> int:
    """Bytes of photos in memory: 8-bit colours, whole and at half size."""
    return sum(view.camera.width * view.camera.height for view in views) * 3 * 5 // 4


def checkpoint_bytes(table: int) -> int:
    """Bytes of a checkpoint, nearly: all that a fit keeps but the gradients."""
    return table * (FLOATS_KEPT - 1) // FLOATS_KEPT


def field_bytes(field: "FeatureField") -> int:
    """Bytes of a field's archive, nearly."""
    heads = sum(value.nbytes for head in field.heads.values() for value in head.state_dict().values())
    return heads + sum(tensor.nbytes for tensor in field.splats.tensors().values())


def resident_bytes() -> int:
    """Memory of this process."""
    import os

    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux
        return peak_bytes()


def peak_bytes() -> int:
    """The most memory this process has had; 0 where the system does not tell."""
    import sys

    try:
        import resource
    except ImportError:  # Windows
        return 0
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if sys.platform == "darwin" else found * 1024


def free_bytes() -> int | None:
    """Memory that programs can still have; None where the system does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            found = next(line for line in file if line.startswith("MemAvailable"))
        return int(found.split()[1]) * 1024
    except (OSError, StopIteration):
        return None


def usable_cores() -> int:
    """Processors that this process may use."""
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_average() -> float:
    """Programs that want to run, on average over the last minute; 0 where the system does not tell."""
    import os

    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
