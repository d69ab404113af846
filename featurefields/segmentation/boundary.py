"""The border of a mask, moved to the edges of the photo.

Letters: h w pixels · c colours.

Around every pixel the mask is explained as a linear function of the photo's colours (guided filter: He, Sun, Tang,
"Guided Image Filtering", IEEE TPAMI 2013). What the photo adds to that explanation, compared with the same filter
under a photo of one colour, moves the border; where the photo shows no edge nothing is added and the border stays.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d


@dataclass(frozen=True, kw_only=True)
class BoundaryConfig:
    """How far and how readily a border moves."""

    radius: float = 1 / 64
    """The border moves at most this far, relative to the picture's shorter side, and at least two pixels may be."""
    contrast: float = 3e-4
    """Variance of colours (0..1) that is no edge: noise of the photo."""

    def radius_px(self, height: int, width: int) -> int:
        return max(2, round(self.radius * min(height, width)))


def refine(
    share: Float[Tensor, "h w"],
    photo: Float[Tensor, "h w 3"],
    *,
    config: BoundaryConfig = BoundaryConfig(),
) -> Bool[Tensor, "h w"]:
    """The mask share > 0.5 with its border at the photo's edges.

    Args:
        share: how much of every pixel the object shows, 0..1 (`mask_share`); the softer its border, the more freely
            it moves.
        photo: sRGB colours in 0..1 of the same view.
        config: how far and how readily.

    Returns:
        The mask; it differs from share > 0.5 only within the radius of that mask's border.
    """
    mask = share > 0.5
    radius = config.radius_px(*share.shape)
    band = _grown(mask, radius) & _grown(~mask, radius)
    if not bool(band.any()):
        return mask
    rows, columns = (_reach(band.any(axis), 2 * radius) for axis in (1, 0))
    soft, colours = share[rows, columns].float(), photo[rows, columns].to(share).float()
    moved = (
        soft
        + _explained(soft, colours, radius, config.contrast)
        - _mean(_mean(soft[..., None], radius), radius)[..., 0]
    )
    result = mask.clone()
    result[rows, columns] = torch.where(band[rows, columns], moved > 0.5, mask[rows, columns])
    return result


def _explained(
    soft: Float[Tensor, "h w"], colours: Float[Tensor, "h w 3"], radius: int, contrast: float
) -> Float[Tensor, "h w"]:
    """The guided filter of `soft`."""
    centred = colours - colours.mean((0, 1))  # sums of products keep their digits
    products = torch.cat(
        [centred[..., :, None] * centred[..., None, :], soft[..., None, None] * centred[..., None]], -1
    )
    means = _mean(torch.cat([soft[..., None], centred, products.flatten(-2)], dim=-1), radius)
    mean_soft, mean_colour = means[..., 0], means[..., 1:4]
    moments = means[..., 4:].unflatten(-1, (3, 4))
    spread = moments[..., :3] - mean_colour[..., :, None] * mean_colour[..., None, :]
    together = moments[..., 3] - mean_soft[..., None] * mean_colour
    slope = torch.linalg.solve(spread + contrast * torch.eye(3).to(spread), together)
    offset = mean_soft - (slope * mean_colour).sum(-1)
    parts = _mean(torch.cat([slope, offset[..., None]], dim=-1), radius)
    return (parts[..., :3] * centred).sum(-1) + parts[..., 3]


def _mean(values: Float[Tensor, "h w c"], radius: int) -> Float[Tensor, "h w c"]:
    """Means over squares of 2 radius + 1 pixels, as far as they are inside the picture."""
    planes, width = values.permute(2, 0, 1)[None], 2 * radius + 1
    rows = avg_pool2d(planes, (width, 1), 1, (radius, 0), count_include_pad=False)
    return avg_pool2d(rows, (1, width), 1, (0, radius), count_include_pad=False)[0].permute(1, 2, 0)


def _grown(mask: Bool[Tensor, "h w"], radius: int) -> Bool[Tensor, "h w"]:
    return max_pool2d(mask[None, None].float(), 2 * radius + 1, stride=1, padding=radius)[0, 0] > 0


def _reach(used: Bool[Tensor, "_"], margin: int) -> slice:
    """From the first to the last place in use, and a margin."""
    places = used.nonzero()[:, 0]
    return slice(max(0, int(places[0]) - margin), int(places[-1]) + 1 + margin)
