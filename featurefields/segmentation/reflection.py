"""Whether a prompt shows a thing or a reflection in it.

Letters: m Gaussians that the prompt shows · h w pixels.
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from featurefields.camera import Camera
from featurefields.maths.colour import linear_from_srgb
from featurefields.raster import RasterConfig
from featurefields.segmentation.viewed import ViewedField

REFLECTION = 0.5
"""From this share of view-dependent light on, a prompt shows a reflection."""


@torch.no_grad()
def reflected_share(
    pixels: Bool[Tensor, "h w"], rows: Int[Tensor, "m"], camera: Camera, viewed: ViewedField
) -> float | None:
    """Share, 0..1, of the linear light at these pixels that depends on the view: what the layer "indep" lacks.

    Only the part of the picture around the pixels is drawn, from the Gaussians `rows` that they show, so that it costs
    little in large pictures. None when the field's colours do not tell matter and reflections apart.
    """
    head, splats = viewed.colour, viewed.field.splats
    if head is None or not set(head.reads) <= set(splats.columns):
        return None
    part, left, top = cropped(camera.to(splats.means), pixels)
    shown = splats.select(rows)
    config = _same_clipping(viewed.raster_config, camera, part, left, top)
    drawn = viewed.rasterizer.draw(shown, head.splat(shown, part), part, config)
    layers = head.decode(drawn.image, drawn.alpha, part)
    if "indep" not in layers or "dep" not in layers:
        return None
    inside = pixels[top : top + part.height, left : left + part.width].to(drawn.alpha)[..., None]
    total, indep = (float((inside * linear_from_srgb(layers[name])).sum()) for name in ("total", "indep"))
    return min(max(1 - indep / total, 0.0), 1.0) if total > 0 else 0.0


def cropped(camera: Camera, pixels: Bool[Tensor, "h w"]) -> tuple[Camera, int, int]:
    """The camera of the smallest part of the picture that holds all `pixels`, and its left and upper edge."""
    ys, xs = pixels.any(1).nonzero(), pixels.any(0).nonzero()
    left, top, right, bottom = int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1
    centre = camera.centre_px - torch.tensor([left, top]).to(camera.centre_px)
    return replace(camera, centre_px=centre, size=(right - left, bottom - top)), left, top


def _same_clipping(config: RasterConfig, camera: Camera, part: Camera, left: int, top: int) -> RasterConfig:
    """Constants that take the Jacobian at the means wherever the whole picture does; its margin is in picture sizes."""
    widest = 0.0
    for whole, small, start in zip(camera.size, part.size, (left, top), strict=True):
        margin = 0.5 * config.clip_margin * whole + max(start, whole - start - small)
        widest = max(widest, margin / (0.5 * small))
    return replace(config, clip_margin=widest)
