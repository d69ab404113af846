"""Segments of a picture where nobody gave any: patches of similar colour.

Letters: h w pixels.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from featurefields.maths.lab import lab_from_srgb
from featurefields.maths.merging import superpoints

SIGMA = 0.8
"""Deviation in pixels of the blur that comes first."""
SCALE = 0.6
"""How much two segments may differ for their size: larger makes larger segments."""
SMALLEST = 1 / 400
"""Segments smaller than this share of the picture join their most similar neighbour."""


def colour_segments(image: Float[Tensor, "3 h w"]) -> Int[Tensor, "h w"]:
    """Ids 0, 1, … of regions whose colours differ little inside, by graph (Felzenszwalb and Huttenlocher 2004).

    A stand-in where no segmentation network is at hand: it finds surfaces of one colour, not objects.
    """
    import cv2

    pixels = image.permute(1, 2, 0).cpu()
    colours = cv2.GaussianBlur(lab_from_srgb(pixels).numpy().astype(np.float32), (0, 0), SIGMA)
    height, width = colours.shape[:2]
    index = np.arange(height * width, dtype=np.int64).reshape(height, width)
    pairs = [
        (index[:, :-1], index[:, 1:]),
        (index[:-1], index[1:]),
        (index[:-1, :-1], index[1:, 1:]),
        (index[:-1, 1:], index[1:, :-1]),
    ]
    first = np.concatenate([one.ravel() for one, _ in pairs])
    second = np.concatenate([other.ravel() for _, other in pairs])
    flat = colours.reshape(-1, 3).astype(np.float64)
    difference = np.linalg.norm(flat[first] - flat[second], axis=-1)
    labels = superpoints(
        first, second, difference, np.ones(height * width), scale=SCALE, smallest=SMALLEST * height * width
    )
    return torch.from_numpy(labels.reshape(height, width)).int()
