"""Sets of pixels.

Letters: h w pixels.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import ceil, floor

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn.functional import max_pool2d


def near_line(
    size: tuple[int, int], points: Sequence[tuple[float, float]], radius: float
) -> Bool[Tensor, "h w"]:
    """The pixels of a picture (width, height) whose centres are within `radius` of the line through `points`.

    One point is a line, too.
    """
    width, height = size
    found = torch.zeros(height, width, dtype=torch.bool)
    for (x0, y0), (x1, y1) in pairwise(points if len(points) > 1 else (points[0], points[0])):
        left, top = max(0, floor(min(x0, x1) - radius)), max(0, floor(min(y0, y1) - radius))
        right, bottom = min(width, ceil(max(x0, x1) + radius)), min(height, ceil(max(y0, y1) + radius))
        if right <= left or bottom <= top:
            continue
        x = torch.arange(left, right, dtype=torch.float64) + (0.5 - x0)
        y = torch.arange(top, bottom, dtype=torch.float64)[:, None] + (0.5 - y0)
        dx, dy = x1 - x0, y1 - y0
        part = ((x * dx + y * dy) / max(dx * dx + dy * dy, 1e-12)).clamp(0, 1)
        found[top:bottom, left:right] |= (x - part * dx) ** 2 + (y - part * dy) ** 2 <= radius * radius
    return found


def grown(mask: Bool[Tensor, "h w"], reach: int) -> Bool[Tensor, "h w"]:
    """The pixels with a masked one up to `reach` rows and columns away."""
    wide = mask[None, None].float()
    for size in ((2 * reach + 1, 1), (1, 2 * reach + 1)):
        wide = max_pool2d(wide, size, stride=1, padding=(size[0] // 2, size[1] // 2))
    return wide[0, 0] > 0
