"""Stage 2 as a whole: extract features (cached), compress them, lift them onto a field that has its geometry."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from featurefields.field import FeatureField
from featurefields.lifting import apart, descent, least_squares, uplift
from featurefields.lifting.maps import Maps
from featurefields.lifting.matter import matter_views, splits_colour
from featurefields.lifting.pictures import Together, feature_pictures
from featurefields.lifting.solution import Solution
from featurefields.raster import Rasterizer
from featurefields.scene import View
from featurefields.vision.cache import FeatureMaps, extract_features
from featurefields.vision.compress import fit_basis
from featurefields.vision.interface import Extractor

Solver = Literal["uplift", "least-squares", "sgd"]


@dataclass(frozen=True, kw_only=True)
class LiftingConfig:
    """How features are lifted onto the Gaussians."""

    dim: int = 32
    """Dimensions that features are stored in (principal components, exactly invertible)."""
    solver: Solver = "uplift"
    """How features are lifted: uplift averages, least-squares solves, sgd descends."""
    loss: Literal["mse", "cosine"] = "mse"
    """What sgd minimises."""
    indep_from: Literal["matter", "photos"] = "matter"
    """What the view-independent part is lifted from: the field's own pictures without reflections, or the photos."""
    degree: Literal[0, 1, 2, 3] = 1
    """Degree of the harmonics that the view-dependent part follows; 0 leaves it out."""
    mask_aware: bool = False
    """A pixel takes only patches that lie on its own object, where photos have instance masks."""
    budget_bytes: int = 4 * 10**9
    """Memory for kept views, tables and maps."""
    cache: Path | None = None
    """Folder that keeps extracted features; None: the user's cache folder."""
    seed: int = 0
    """Seed of what is random (sgd)."""


@runtime_checkable
class Progress(Protocol):
    """Opens a bar: progress(title, total) is a context that gives advance(n, **facts)."""

    def __call__(
        self, title: str, total: int | None = None
    ) -> AbstractContextManager[Callable[..., None]]: ...


def silent(title: str, total: int | None = None) -> AbstractContextManager[Callable[..., None]]:
    """A `Progress` that shows nothing."""
    del title, total
    return nullcontext(lambda n=1, **facts: None)


def lift_features(
    field: FeatureField,
    views: Sequence[View],
    extractor: Extractor,
    rasterizer: Rasterizer,
    config: LiftingConfig = LiftingConfig(),
    *,
    progress: Progress = silent,
    note: Callable[[str], object] = lambda line: None,
) -> FeatureField:
    """The field with a head "feature", lifted from the views' photos.

    Notes of the result: `solver`, `indep_from`, `feature_loss` (the solver's last, where it has one) and
    `feature_variance_kept`. `note` is told, in one line each, what the user should know.
    """
    left = config.budget_bytes
    sources = {"photos": tuple(views)}
    if config.indep_from == "matter" and config.solver != "sgd" and splits_colour(field):
        sources["matter"] = matter_views(field, views, rasterizer)
    maps: dict[str, FeatureMaps] = {}
    for source, shown in sources.items():
        maps[source] = _extracted(shown, extractor, config.cache, left, source, progress)
        left -= maps[source].held_bytes
    basis = fit_basis(Together(maps), min(config.dim, extractor.dim))
    about = replace(
        field.about, extractor=extractor.fingerprint, feature_mean=basis.mean, feature_basis=basis.basis
    )
    pictures = {
        source: feature_pictures(views, found, basis, mask_aware=config.mask_aware)
        for source, found in maps.items()
    }

    def lift(given: FeatureField, of: Maps, degree: int) -> Solution:
        return _lifted(given, views, of, rasterizer, config, degree, basis.dim, left, progress, note)

    field = replace(field, about=about)
    if "matter" in pictures:
        left -= apart.working_bytes(len(field), basis.dim, largest(views))
        found = apart.lift_apart(
            field, views, pictures["photos"], pictures["matter"], lift, rasterizer=rasterizer,
            degree=config.degree,
        )  # fmt: skip
    else:
        found = lift(field, pictures["photos"], config.degree)
    field = found.field
    notes = {name: value for name, value in field.about.notes.items() if name != "feature_loss"}
    notes |= {"solver": config.solver, "indep_from": "matter" if "matter" in pictures else "photos"}
    notes |= {"feature_loss": round(found.losses[-1], 6)} if found.losses else {}
    if basis.explained is not None:
        notes["feature_variance_kept"] = round(float(basis.explained.sum()), 4)
    return replace(field, about=replace(field.about, notes=notes))


def _extracted(
    views: Sequence[View],
    extractor: Extractor,
    cache: Path | None,
    budget: int,
    source: str,
    progress: Progress,
) -> FeatureMaps:
    """Maps of all views, with progress; at most half the budget is held in memory where the disk cannot keep them."""
    with progress(f"extracting features of {source}", len(views)) as advance:
        shown = 0

        def tell(done: int, total: int) -> None:
            nonlocal shown
            advance(done - shown)
            shown = done

        return extract_features(views, extractor, cache_dir=cache, memory_bytes=budget // 2, on_progress=tell)


def _lifted(
    field: FeatureField,
    views: Sequence[View],
    pictures: Maps,
    rasterizer: Rasterizer,
    config: LiftingConfig,
    degree: int,
    dim: int,
    budget: int,
    progress: Progress,
    note: Callable[[str], object],
) -> Solution:
    """The field with its new head, and the solver's losses if it knows any."""
    sizes = len(field), dim, len(views), largest(views)
    squares = least_squares.LeastSquaresConfig(degree=degree)
    steps = descent.DescentConfig(head="deferred" if degree else "direct", loss=config.loss, seed=config.seed)
    passes, working = {
        "uplift": (2 if degree else 1, uplift.working_bytes(*sizes, degree)),
        "least-squares": (2 + squares.iterations, least_squares.working_bytes(*sizes, squares)),
        "sgd": (1 + steps.epochs, descent.working_bytes(*sizes, steps)),
    }[config.solver]
    if working > budget:
        note(
            f"lifting itself takes about {working / 1e6:,.0f} MB, more than the memory budget of "
            f"{config.budget_bytes / 1e6:,g} MB has left; no view is kept between passes, which is slow"
        )
    with progress(f"lifting features ({config.solver})", passes * len(views)) as advance:
        told = _Told(advance)
        shared = {"rasterizer": rasterizer, "budget_bytes": max(budget - working, 0), "on_view": told.view}
        if config.solver == "uplift":
            return Solution(uplift.uplift(field, views, pictures, degree=degree, **shared), ())
        if config.solver == "least-squares":
            found = least_squares.solve(field, views, pictures, config=squares, on_loss=told.loss, **shared)
        else:
            found = descent.descend(field, views, pictures, config=steps, on_loss=told.loss, **shared)
        advance(passes * len(views) - told.views)
    return found


def largest(views: Sequence[View]) -> int:
    """Pixels of the largest view."""
    return max(view.camera.width * view.camera.height for view in views)


class _Told:
    """What a solver tells, passed on to a progress bar."""

    def __init__(self, advance: Callable[..., None]) -> None:
        self.views, self._advance = 0, advance

    def view(self) -> None:
        self.views += 1
        self._advance(1)

    def loss(self, loss: float) -> None:
        self._advance(0, loss=loss)
