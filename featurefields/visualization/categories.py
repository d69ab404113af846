"""Colours that tell things apart.

Letters: m things · h w pixels.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from featurefields.maths.colour import srgb_from_linear
from featurefields.visualization.sheets import overlay

GOLDEN_TURN = 0.618033988749895
"""Hues this far apart (of a full turn) stay apart for any number of them."""
LEVELS = (0.75, 0.45, 1.0)
"""Brightness of one thing after the other, so that similar hues differ too."""


def distinct_colours(count: int) -> Float[Tensor, "m 3"]:
    """Display colours (sRGB in 0..1), each unlike those before it; the first ones do not depend on `count`."""
    index = torch.arange(count, dtype=torch.float64)
    hue = (0.08 + GOLDEN_TURN * index) % 1.0
    bright = torch.tensor(LEVELS, dtype=torch.float64)[torch.arange(count) % len(LEVELS)]
    distance = (6 * (hue[:, None] - torch.tensor([0.0, 1 / 3, 2 / 3], dtype=torch.float64)) + 3) % 6 - 3
    linear = (2 - distance.abs()).clamp(0.0, 1.0) * bright[:, None] + 0.02
    return srgb_from_linear(linear.clamp(max=1.0)).float()


def labels_over(
    image: Float[Tensor, "h w 3"], labels: Int[Tensor, "h w"], colours: Float[Tensor, "m 3"]
) -> Float[Tensor, "h w 3"]:
    """`image` tinted by the colour of every pixel's label, outlined; label 1 has the first colour, 0 none."""
    for number in labels.unique().tolist():
        if number > 0:
            red, green, blue = colours[number - 1].tolist()
            image = overlay(image, labels == number, (red, green, blue))
    return image
