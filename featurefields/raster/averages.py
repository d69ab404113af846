"""Pictures of what Gaussians carry, where only some of them carry anything.

Letters: n Gaussians · c channels · h w pixels.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.maths.compositing import over_alpha
from featurefields.raster.interface import RasterConfig, Rasterizer
from featurefields.splats import Splats


@dataclass(frozen=True)
class Averages:
    """What a camera sees of weighted values.

    Attributes:
        image: mean of the values of what is seen, by drawn weight; 0 where nothing with a weight is.
        share: 0..1, how much of the pixel shows Gaussians with a weight (their alpha).
        depth: mean depth along the optical axis of the same Gaussians, 0 where there are none.
    """

    image: Float[Tensor, "h w c"]
    share: Float[Tensor, "h w"]
    depth: Float[Tensor, "h w"]

    def visible(
        self,
        depth: Float[Tensor, "h w"] | None = None,
        *,
        share: float = 0.5,
        tolerance: float = 0.05,
    ) -> Bool[Tensor, "h w"]:
        """Pixels that show more than `share` of what carries values and, where the camera's own `depth` is given
        and known (> 0), lie on that surface: the drawn depth differs by at most `tolerance` of it."""
        covered = self.share > share
        if depth is None:
            return covered
        agrees = (self.depth - depth).abs() <= tolerance * depth
        return covered & (agrees | (depth <= 0))


def draw_averages(
    rasterizer: Rasterizer,
    splats: Splats,
    values: Float[Tensor, "n c"],
    camera: Camera,
    *,
    weights: Float[Tensor, "n"] | None = None,
    config: RasterConfig = RasterConfig(),
) -> Averages:
    """Draw `values` divided by the drawn `weights` (0..1, all 1 by default), in one pass with the depth.

    Gaussians of weight 0 hide what is behind them but lend nothing to the mean. Equal values stay what they are,
    however thin the cover.
    """
    if weights is None:
        weights = values.new_ones(len(splats))
    depths = (splats.means - camera.position) @ camera.forward
    channels = torch.cat([values * weights[:, None], (weights * depths)[:, None], weights[:, None]], dim=-1)
    drawn = rasterizer.draw(splats, channels, camera, config).image
    share = drawn[..., -1]
    means = over_alpha(drawn[..., :-1], share)
    return Averages(means[..., :-1], share, means[..., -1])
