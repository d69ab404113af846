"""Features for a field that has its geometry: extract (cached), compress, lift."""

from pathlib import Path
from typing import TYPE_CHECKING

from featurefields.errors import UnavailableError

from .console import Console

if TYPE_CHECKING:
    import torch

    from featurefields.field import FeatureField
    from featurefields.raster import Rasterizer
    from featurefields.scene import Scene
    from featurefields.vision.interface import Extractor


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
    *,
    dim: int,
    cache: Path | None,
) -> "FeatureField":
    """Stage 2: extract (cached), compress, lift by the transpose of drawing."""
    from dataclasses import replace
    from functools import partial

    from featurefields.lifting.uplift import uplift
    from featurefields.vision.cache import extract_features
    from featurefields.vision.compress import fit_basis
    from featurefields.vision.grids import upsample

    views = scene.split("train")
    with console.progress("extracting features", len(views)) as advance:
        shown = 0

        def tell(done: int, total: int) -> None:
            nonlocal shown
            advance(done - shown)
            shown = done

        maps = extract_features(views, extractor, cache_dir=cache, on_progress=tell)
    basis = fit_basis(maps, min(dim, extractor.dim))

    def picture(name: str, size: tuple[int, int]):
        return upsample(basis.encode_map(maps[name]).features.float(), size)

    pictures = {view.name: partial(picture, view.name, view.camera.size) for view in views}
    with console.progress("lifting features", 2 * len(views)) as advance:
        field = uplift(field, views, pictures, rasterizer=rasterizer, on_view=lambda: advance(1))
    about = replace(
        field.about, extractor=extractor.fingerprint, feature_mean=basis.mean, feature_basis=basis.basis
    )
    return replace(field, about=about)
