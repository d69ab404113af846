"""Selections as pictures.

Letters: n Gaussians · h w pixels.
"""

from jaxtyping import Bool, Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.field import FeatureField
from featurefields.raster import RasterConfig, Rasterizer


def mask_share(
    field: FeatureField, mask: Bool[Tensor, "n"], camera: Camera, *, rasterizer: Rasterizer
) -> Float[Tensor, "h w"]:
    """Share of every pixel, 0..1, that the masked Gaussians show; more than half means the pixel is theirs."""
    chosen = mask.to(field.splats.means)[:, None]
    return rasterizer.draw(field.splats, chosen, camera, RasterConfig()).image[..., 0]
