"""The transpose of drawing for any backend, by differentiating its linear draw."""

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.raster.interface import RasterConfig, Rasterizer
from featurefields.splats import Splats


def gather_by_autograd(
    rasterizer: Rasterizer, splats: Splats, maps: Float[Tensor, "h w c"], camera: Camera, config: RasterConfig
) -> Float[Tensor, "n c"]:
    """sum_p w_ip maps_p: the gradient of <draw(channels), maps> with respect to the channels."""
    with torch.enable_grad():
        channels = maps.new_zeros(len(splats), maps.shape[-1], requires_grad=True)
        image = rasterizer.draw(splats.detach(), channels, camera, config).image
        (gradient,) = torch.autograd.grad(image, channels, grad_outputs=maps.detach())
    return gradient
