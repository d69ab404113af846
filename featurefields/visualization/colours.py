"""Colours for numbers and directions.

Letters: h w pixels · `...` any shape · m steps of a colour ramp.
"""

import math
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.maths.colour import srgb_from_linear

RAMP_STEPS = 256


def scalar_colours(
    values: Float[Tensor, "..."], limits: tuple[float, float] = (0.0, 1.0)
) -> Float[Tensor, "... 3"]:
    """Display colours (sRGB in 0..1) of values: dark violet at the lower limit, bright yellow at the upper.

    Values outside the limits take the colour of the nearer one; values that are not finite are black.
    """
    low, high = limits
    finite = values.isfinite()
    place = (torch.where(finite, values, low) - low) / max(high - low, 1e-12)
    place = place.clamp(0.0, 1.0) * (RAMP_STEPS - 1)
    below = place.floor().clamp(max=RAMP_STEPS - 2)
    ramp = _ramp().to(values)
    colours = torch.lerp(ramp[below.long()], ramp[below.long() + 1], (place - below)[..., None])
    return torch.where(finite[..., None], colours, 0.0)


def depth_limits(
    depth: Float[Tensor, "..."], alpha: Float[Tensor, "..."], fraction: float = 0.02
) -> tuple[float, float]:
    """Nearest and farthest depth where something is (alpha >= 0.5); (0, 1) when nothing is.

    The outermost `fraction` at each end does not count.
    """
    found = depth[(alpha >= 0.5) & depth.isfinite()]
    if found.numel() == 0:
        return 0.0, 1.0
    ordered = found.flatten().sort().values
    last = ordered.numel() - 1
    return ordered[round(fraction * last)].item(), ordered[round((1.0 - fraction) * last)].item()


def depth_colours(
    depth: Float[Tensor, "h w"],
    alpha: Float[Tensor, "h w"] | None = None,
    limits: tuple[float, float] | None = None,
) -> Float[Tensor, "h w 3"]:
    """Display colours of depth, even in 1/depth: near is bright, far is dark, nothing is black.

    `limits` are the nearest and farthest depth (default: those of this picture); give the same to all
    pictures that are to be compared. `alpha` fades to black where little covers the pixel (default: depth > 0).
    """
    alpha = (depth > 0).to(depth) if alpha is None else alpha
    near, far = limits or depth_limits(depth, alpha)
    floor = max(1e-6, 1e-3 * abs(far))
    nearness = 1.0 / depth.clamp(min=floor)
    colours = scalar_colours(nearness, (1.0 / max(far, floor), 1.0 / max(near, floor)))
    return colours * alpha.clamp(0.0, 1.0)[..., None]


def normal_colours(
    normals: Float[Tensor, "h w 3"], alpha: Float[Tensor, "h w"] | None = None
) -> Float[Tensor, "h w 3"]:
    """Display colours of world normals: x, y, z in -1..1 are red, green, blue in 0..1; no normal is black.

    Normals are brought to unit length first; `alpha` fades to black where little covers the pixel.
    """
    length = normals.norm(dim=-1, keepdim=True)
    colours = torch.where(length > 1e-6, 0.5 + 0.5 * normals / length.clamp(min=1e-6), 0.0)
    return colours if alpha is None else colours * alpha.clamp(0.0, 1.0)[..., None]


@lru_cache(maxsize=1)
def _ramp() -> Float[Tensor, "m 3"]:
    """A ramp of even lightness steps from dark violet over green to yellow, made in OKLCh.

    OKLab to linear sRGB as published by B. Ottosson, "A perceptual color space for image processing" (2020).
    Lightness is linear, so that the picture reads in greyscale as well.
    """
    t = torch.linspace(0.0, 1.0, RAMP_STEPS, dtype=torch.float64)
    lightness = 0.22 + 0.74 * t
    hue = math.radians(305.0) + t * math.radians(105.0 - 305.0)
    chroma = 0.095 + 0.018 * (2 * t - 1) ** 2  # inside the sRGB gamut all along
    a, b = chroma * hue.cos(), chroma * hue.sin()
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = torch.stack(
        [
            4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
        ],
        dim=-1,
    )
    return srgb_from_linear(linear)
