"""From posed pictures to Gaussians in one pass: nothing is fitted.

Letters: v views · h w pixels · n Gaussians.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.errors import FittingError
from featurefields.lifting.consistency import Fused, fused, looked_through
from featurefields.lifting.geometry import PosedPicture, ViewGeometry
from featurefields.lifting.merge import kept_pixels
from featurefields.lifting.overlap import matching_views
from featurefields.lifting.pixel_gaussians import GaussianConfig, pixel_gaussians
from featurefields.lifting.shell import Shell
from featurefields.lifting.surfaces_seen import SeenSurface
from featurefields.raster import RasterConfig, Rasterizer
from featurefields.splats import Splats, concatenate


@dataclass(frozen=True, kw_only=True)
class FeedForwardConfig:
    """How views become one set of Gaussians."""

    others: int = 24
    """Other views that a view is checked against and merged with; time is linear in the views because of it."""
    witnesses: int = 64
    """Views, spread over all, that may not look through what is left after merging."""
    shell: bool = True
    """Pixels that no surface covers are shown on a far sphere."""
    covered: float = 0.5
    """Pixels that Gaussians cover less than this show surroundings."""
    gaussians: GaussianConfig = field(default_factory=GaussianConfig)
    """Shape and opacity of a pixel's Gaussian."""


@dataclass(frozen=True)
class Lifted:
    """Gaussians and how they came about.

    Attributes:
        splats: columns "harmonics" (n 1 3) and "normals" (n 3); those of the shell come last.
        known: pixels of all views whose depth is known.
        contradicted: of these, how many other views look through.
        repeated: of the rest, how many another view shows as well or better.
        shell: Gaussians of the far sphere.
    """

    splats: Splats
    known: int
    contradicted: int
    repeated: int
    shell: int


@torch.no_grad()
def lift_pictures(
    pictures: Sequence[PosedPicture],
    geometry: Sequence[ViewGeometry],
    rasterizer: Rasterizer,
    config: FeedForwardConfig = FeedForwardConfig(),
    *,
    raster: RasterConfig = RasterConfig(),
    on_view: Callable[[], object] = lambda: None,
) -> Lifted:
    """Gaussians of all pictures, merged; `on_view` is called once a view.

    Raises:
        FittingError: no depth of any view is known.
    """
    seen = [SeenSurface.of(*pair) for pair in zip(pictures, geometry, strict=True)]
    known = sum(int((view.depth > 0).sum()) for view in seen)
    if known == 0:
        raise FittingError(
            f"not one depth of the {len(pictures)} views is known, so there is nothing to lift; choose views that "
            "overlap, or another geometry"
        )
    others = [_others(index, pictures, seen, config.others) for index in range(len(seen))]
    views = [fused(view, [seen[other] for other in near]) for view, near in zip(seen, others, strict=True)]
    del seen
    step = -(-len(views) // config.witnesses)
    witnesses = [view.seen for view in views[::step]]
    parts = []
    for index, near in enumerate(others):
        own, kept = views[index].seen, kept_pixels(index, views, near)
        rows = torch.nonzero(kept, as_tuple=True)
        kept[rows] = ~looked_through(own.camera.unproject(own.depth)[rows], witnesses)
        parts.append(pixel_gaussians(own, kept, config.gaussians))
        on_view()
    splats = concatenate(parts)
    surfaces = len(splats)
    if config.shell:
        splats = concatenate([splats, _surroundings(pictures, views, splats, rasterizer, config, raster)])
    valid = sum(int(view.valid.sum()) for view in views)
    return Lifted(splats, known, known - valid, valid - surfaces, len(splats) - surfaces)


def _others(
    index: int, pictures: Sequence[PosedPicture], seen: Sequence[SeenSurface], count: int
) -> tuple[int, ...]:
    """The views that show most of what this one sees, at its own depths."""
    depth = seen[index].depth
    depths = depth[depth > 0]
    if len(depths) == 0:
        return ()
    levels = torch.quantile(depths[:: max(1, len(depths) // 10_000)], depths.new_tensor([0.1, 0.5, 0.9]))
    return matching_views(index, [picture.camera for picture in pictures], levels.tolist(), count)


def _surroundings(
    pictures: Sequence[PosedPicture],
    views: Sequence[Fused],
    splats: Splats,
    rasterizer: Rasterizer,
    config: FeedForwardConfig,
    raster: RasterConfig,
) -> Splats:
    """The far sphere with what pixels show that the Gaussians do not cover."""
    cameras = [picture.camera for picture in pictures]
    reach = max(float(view.seen.depth.max()) for view in views)
    shell, blank = Shell(cameras, reach), splats.means.new_zeros(len(splats), 1)
    for picture in pictures:
        alpha: Float[Tensor, "h w"] = rasterizer.draw(splats, blank, picture.camera, raster).alpha
        shell.add(picture.camera, picture.picture.permute(1, 2, 0), alpha < config.covered, picture.mask)
    return shell.splats()
