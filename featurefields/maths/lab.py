"""Colours as the eye tells them apart.

Letters: `...` any batch of colours.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.maths.colour import linear_from_srgb

_XYZ_FROM_RGB = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
_WHITE = (0.9505, 1.0, 1.0890)


def lab_from_srgb(srgb: Float[Tensor, "... 3"]) -> Float[Tensor, "... 3"]:
    """CIE 1976 L*a*b* over 100 (D65): lightness 0..1, distances in the same unit."""
    matrix, white = srgb.new_tensor(_XYZ_FROM_RGB), srgb.new_tensor(_WHITE)
    ratio = linear_from_srgb(srgb) @ matrix.T / white
    knee = (6 / 29) ** 3
    root = torch.where(ratio > knee, ratio.clamp(min=knee) ** (1 / 3), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = root.unbind(-1)
    return torch.stack([1.16 * y - 0.16, 5 * (x - y), 2 * (y - z)], dim=-1)
