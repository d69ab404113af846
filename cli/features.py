"""Features for a field that has its geometry: extract (cached), compress, lift."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from featurefields.errors import FittingError, SceneError, UnavailableError, UnknownNameError

from .console import Console
from .options import OptionalPath, Size, parse_size

if TYPE_CHECKING:
    import torch

    from featurefields.field import FeatureField
    from featurefields.lifting.stage import LiftingConfig
    from featurefields.raster import Rasterizer
    from featurefields.scene import Scene
    from featurefields.vision.interface import Extractor

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

    def config(self, seed: int = 0) -> "LiftingConfig":
        """The same for the library. Raises `FittingError` when the budget is no size."""
        from featurefields.lifting.stage import LiftingConfig

        return LiftingConfig(
            dim=self.feature_dim,
            solver=self.solver,
            loss=self.feature_loss,
            indep_from=self.indep_from,
            degree=self.degree,
            mask_aware=self.mask_aware,
            budget_bytes=parse_size(self.budget, "--budget"),
            cache=self.cache,
            seed=seed,
        )

    def check(self, scene: "Scene") -> None:
        """Refuse what cannot work on these photos.

        Raises:
            FittingError: a number or a combination of options makes no sense.
            SceneError: masks were asked for and no photo has any.
            UnknownNameError: there is no such solver.
        """
        from featurefields.lifting.pictures import segments_of

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
    """Stage 2 with progress. The extractor is given; `options.features` is not looked at.

    Raises:
        FittingError, SceneError, UnknownNameError: see `FeatureOptions.check`.
    """
    from featurefields.lifting.stage import lift_features as lifted

    options.check(scene)
    return lifted(
        field, scene.split("train"), extractor, rasterizer, options.config(seed),
        progress=console.progress, note=console.note,
    )  # fmt: skip
