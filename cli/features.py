"""Features for a field that has its geometry: extract (cached), compress, lift."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from featurefields.errors import FittingError, SceneError, UnavailableError, UnknownNameError

from .console import Console
from .matter import matter_views, splits_colour
from .options import OptionalPath, Size, parse_size

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from featurefields.field import FeatureField
    from featurefields.lifting.maps import Maps
    from featurefields.lifting.solution import Solution
    from featurefields.raster import Rasterizer
    from featurefields.scene import Scene, View
    from featurefields.vision import FeatureBasis, FeatureMaps
    from featurefields.vision.interface import Extractor, FeatureMap

Solver = Literal["uplift", "least-squares", "sgd"]


@dataclass(frozen=True, kw_only=True)
class FeatureOptions:
    """Stage 2: which features are lifted onto the Gaussians, and how."""

    features: str = "auto"
    """Extractor: classical, dinov2, transformers:FOLDER, onnx:FILE, none; auto is dinov2 where its weights can be
    had and classical elsewhere."""
    feature_dim: int = 32
    """Dimensions that features are stored in (principal components, exactly invertible)."""
    solver: Solver = "uplift"
    """How features are lifted: uplift averages what every Gaussian is seen to be, in one pass; least-squares finds
    what fits all photos together; sgd descends, with a network for the view-dependent part."""
    feature_loss: Literal["mse", "cosine"] = "mse"
    """What sgd minimises: the squared error of stored features, or 1 - cosine of whole ones."""
    indep_from: Literal["matter", "photos"] = "matter"
    """What the view-independent part is lifted from: the field's own pictures without reflections (twice the
    extraction), or the photos. Fields of spherical harmonics, and sgd, know photos only."""
    degree: Literal[0, 1, 2, 3] = 1
    """Degree of the harmonics of the reflected direction that features may follow; 0 leaves the view-dependent part
    out. With sgd a network takes their place."""
    mask_aware: bool = False
    """Keep the features of neighbouring objects apart where photos have instance masks: a pixel takes only patches
    that lie on its own object."""
    budget: Size = "4GB"
    """Memory for lifting, such as 4GB or 500MB: the kept views of the geometry, the tables and pictures that the
    solver works on, and feature maps where they are not in the cache on disk. What does not fit is made again in
    every pass. The program itself, the field and the extractor come on top."""
    cache: OptionalPath = None
    """Folder that keeps extracted features; by default the user's cache folder."""

    def check(self, scene: "Scene") -> None:
        """Refuse what cannot work on these photos.

        Raises:
            FittingError: a number or a combination of options makes no sense.
            SceneError: masks were asked for and no photo has any.
            UnknownNameError: there is no such solver.
        """
        if self.feature_dim <= 0:
            raise FittingError(
                f"--feature-dim must be positive, got {self.feature_dim}; leave it out for the default"
            )
        parse_size(self.budget, "--budget")
        known_solver(self.solver)
        if self.feature_loss != "mse" and self.solver != "sgd":
            raise FittingError(
                f"--feature-loss {self.feature_loss} can only be minimised by --solver sgd, not by {self.solver}"
            )
        if self.mask_aware and all(segments_of(view) is None for view in scene.split("train")):
            raise SceneError(
                f"--mask-aware was asked for, but no photo of {scene.folder} has an instance mask "
                "(instance_file_path); leave it out"
            )


def known_solver(name: str) -> None:
    """Raise `UnknownNameError` when there is no such solver."""
    if name not in get_args(Solver):
        raise UnknownNameError(f"unknown feature solver '{name}'; known: {', '.join(get_args(Solver))}")


def find_extractor(name: str, device: "torch.device | str", console: Console) -> "Extractor | None":
    """The extractor to use; "auto" falls back to the classical one, telling why."""
    from featurefields.vision.select import choose_extractor

    if name == "none":
        return None
    if name != "auto":
        return choose_extractor(name, device=device)
    try:
        return choose_extractor("dinov2", device=device)
    except UnavailableError as error:
        console.note(f"{error} — going on with --features classical")
        return choose_extractor("classical", device=device)


def segments_of(view: "View") -> "Tensor | None":
    """Instance ids of a view's pixels (h w), or None."""
    layer = view.picture.layer("instance")
    return None if layer is None else layer[..., 0].round().long()


def feature_pictures(
    views: "Sequence[View]",
    maps: "Mapping[str, FeatureMap]",
    basis: "FeatureBasis | None",
    *,
    mask_aware: bool = False,
) -> "Maps":
    """Functions that make every view's features at each of its pixels, in the basis' dimensions if there is one."""
    from functools import partial

    from featurefields.vision.grids import upsample

    def picture(view: "View") -> "Tensor":
        stored = maps[view.name] if basis is None else basis.encode_map(maps[view.name])
        masks = segments_of(view) if mask_aware else None
        return upsample(stored.features.float(), view.camera.size, masks=masks)

    return {view.name: partial(picture, view) for view in views}


class Together(Mapping[str, "FeatureMap"]):
    """Maps of several sources as one, read only when asked for."""

    def __init__(self, sources: "Mapping[str, Mapping[str, FeatureMap]]") -> None:
        self._places = {f"{source}/{name}": (maps, name) for source, maps in sources.items() for name in maps}

    def __getitem__(self, name: str) -> "FeatureMap":
        maps, inner = self._places[name]
        return maps[inner]

    def __iter__(self) -> "Iterator[str]":
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def lift_features(
    field: "FeatureField",
    scene: "Scene",
    extractor: "Extractor",
    rasterizer: "Rasterizer",
    console: Console,
    options: FeatureOptions = FeatureOptions(),
    *,
    seed: int = 0,
) -> "FeatureField":
    """Stage 2: extract (cached), compress, lift. The extractor is given; `options.features` is not looked at.

    Notes of the result: `solver`, `indep_from`, `feature_loss` (the solver's last, where it has one) and
    `feature_variance_kept`.

    Raises:
        FittingError, SceneError, UnknownNameError: see `FeatureOptions.check`.
    """
    from featurefields.lifting.apart import lift_apart
    from featurefields.vision.compress import fit_basis

    options.check(scene)
    views = scene.split("train")
    left = parse_size(options.budget, "--budget")
    sources = {"photos": views}
    if options.indep_from == "matter" and options.solver != "sgd" and splits_colour(field):
        sources["matter"] = matter_views(field, views, rasterizer)
    maps = {}
    for source, shown in sources.items():
        maps[source] = _extracted(shown, extractor, console, options.cache, left, source)
        left -= maps[source].held_bytes
    basis = fit_basis(Together(maps), min(options.feature_dim, extractor.dim))
    about = replace(
        field.about, extractor=extractor.fingerprint, feature_mean=basis.mean, feature_basis=basis.basis
    )
    pictures = {
        source: feature_pictures(views, found, basis, mask_aware=options.mask_aware)
        for source, found in maps.items()
    }

    def lift(given: "FeatureField", of: "Maps", degree: int) -> "Solution":
        asked = replace(options, degree=degree)  # type: ignore[arg-type]
        return _lifted(given, views, of, rasterizer, console, asked, basis.dim, seed, left)

    field = replace(field, about=about)
    if "matter" in pictures:
        found = lift_apart(
            field, views, pictures["photos"], pictures["matter"], lift, rasterizer=rasterizer,
            degree=options.degree,
        )  # fmt: skip
    else:
        found = lift(field, pictures["photos"], options.degree)
    field = found.field
    notes = {name: value for name, value in field.about.notes.items() if name != "feature_loss"}
    notes |= {"solver": options.solver, "indep_from": "matter" if "matter" in pictures else "photos"}
    notes |= {"feature_loss": round(found.losses[-1], 6)} if found.losses else {}
    if basis.explained is not None:
        notes["feature_variance_kept"] = round(float(basis.explained.sum()), 4)
    return replace(field, about=replace(field.about, notes=notes))


def _extracted(
    views: "Sequence[View]",
    extractor: "Extractor",
    console: Console,
    cache: Path | None,
    budget: int,
    source: str,
) -> "FeatureMaps":
    """Maps of all views, with progress; at most half the budget is held in memory where the disk cannot keep them."""
    from featurefields.vision.cache import extract_features

    with console.progress(f"extracting features of {source}", len(views)) as advance:
        shown = 0

        def tell(done: int, total: int) -> None:
            nonlocal shown
            advance(done - shown)
            shown = done

        return extract_features(views, extractor, cache_dir=cache, memory_bytes=budget // 2, on_progress=tell)


def _lifted(
    field: "FeatureField",
    views: "Sequence[View]",
    pictures: "Maps",
    rasterizer: "Rasterizer",
    console: Console,
    options: FeatureOptions,
    dim: int,
    seed: int,
    budget: int,
) -> "Solution":
    """The field with its new head, and the solver's losses if it knows any."""
    from featurefields.lifting import descent, least_squares, uplift
    from featurefields.lifting.solution import Solution

    pixels = max(view.camera.width * view.camera.height for view in views)
    sizes = len(field), dim, len(views), pixels
    degree = options.degree
    squares = least_squares.LeastSquaresConfig(degree=degree)
    steps = descent.DescentConfig(
        head="deferred" if degree else "direct", loss=options.feature_loss, seed=seed
    )
    passes, working = {
        "uplift": (2 if degree else 1, uplift.working_bytes(*sizes, degree)),
        "least-squares": (2 + squares.iterations, least_squares.working_bytes(*sizes, squares)),
        "sgd": (1 + steps.epochs, descent.working_bytes(*sizes, steps)),
    }[options.solver]
    if working > budget:
        console.note(
            f"lifting itself takes about {working / 1e6:,.0f} MB, more than --budget {options.budget} has left; no "
            "view is kept between passes, which is slow"
        )
    with console.progress(f"lifting features ({options.solver})", passes * len(views)) as advance:
        told = _Told(advance)
        shared = {"rasterizer": rasterizer, "budget_bytes": max(budget - working, 0), "on_view": told.view}
        if options.solver == "uplift":
            return Solution(uplift.uplift(field, views, pictures, degree=degree, **shared), ())
        if options.solver == "least-squares":
            found = least_squares.solve(field, views, pictures, config=squares, on_loss=told.loss, **shared)
        else:
            found = descent.descend(field, views, pictures, config=steps, on_loss=told.loss, **shared)
        advance(passes * len(views) - told.views)
    return found


class _Told:
    """What a solver tells, passed on to a progress bar."""

    def __init__(self, advance: Callable[..., None]) -> None:
        self.views, self._advance = 0, advance

    def view(self) -> None:
        self.views += 1
        self._advance(1)

    def loss(self, loss: float) -> None:
        self._advance(0, loss=loss)
