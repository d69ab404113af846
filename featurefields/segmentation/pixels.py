"""Sets of pixels.

Letters: h w pixels · p points of a line.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import max_pool2d


def near_line(
    centres: Float[Tensor, "h w 2"], points: Sequence[tuple[float, float]], radius: float
) -> Bool[Tensor, "h w"]:
    """The pixels whose centres are within `radius` of the line through `points`; one point is a line, too."""
    found = torch.zeros(centres.shape[:2], dtype=torch.bool, device=centres.device)
    line = torch.tensor(points).to(centres)
    for start, end in pairwise(line if len(line) > 1 else [line[0], line[0]]):
        low = (torch.minimum(start, end) - radius).floor().long().clamp(min=0).tolist()
        high = (torch.maximum(start, end) + radius).ceil().long().clamp(min=0).tolist()
        place = slice(low[1], high[1]), slice(low[0], high[0])
        along, offset = end - start, centres[place] - start
        part = ((offset @ along) / along.square().sum().clamp(min=1e-12)).clamp(0, 1)
        found[place] |= (offset - part[..., None] * along).norm(dim=-1) <= radius
    return found


def grown(mask: Bool[Tensor, "h w"], reach: int) -> Bool[Tensor, "h w"]:
    """The pixels with a masked one up to `reach` rows and columns away."""
    wide = mask[None, None].float()
    for size in ((2 * reach + 1, 1), (1, 2 * reach + 1)):
        wide = max_pool2d(wide, size, stride=1, padding=(size[0] // 2, size[1] // 2))
    return wide[0, 0] > 0
