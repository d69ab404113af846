"""Two pictures of the same view in one: a wipe, a slider in steps, a map of differences.

Letters: h w pixels · h_sheet w_sheet pixels of a sheet.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.visualization.colours import scalar_colours
from featurefields.visualization.sheets import strip

STEPS = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Where the line of a slider stands in its five pictures."""
SMALLEST_LIMIT = 8 / 255
"""A map of differences is never stretched further than this: rounding must not look like a change."""


def wipe(
    before: Float[Tensor, "h w 3"], after: Float[Tensor, "h w 3"], place: float
) -> Float[Tensor, "h w 3"]:
    """`before` on the left of a white line with dark edges, `after` on its right.

    The line stands at the fraction `place` of the width; at 1 all is before, at 0 all is after, without a line.
    """
    width = before.shape[1]
    at = round(min(max(place, 0.0), 1.0) * width)
    picture = torch.cat([before[:, :at], after[:, at:]], dim=1)
    if 0 < at < width:
        half = max(1, round(width / 300))
        picture[:, max(at - 2 * half, 0) : at + 2 * half] *= 0.35
        picture[:, max(at - half, 0) : at + half] = 1.0
    return picture


def slider(
    before: Float[Tensor, "h w 3"], after: Float[Tensor, "h w 3"], steps: Sequence[float] = STEPS
) -> Float[Tensor, "h_sheet w_sheet 3"]:
    """Wipes in a row, the line moving from right to left: from all before to all after."""
    labels = ["before | after" if 0 < place < 1 else ("after" if place <= 0 else "before") for place in steps]
    return strip([wipe(before, after, place) for place in steps], labels)


def change(before: Float[Tensor, "h w 3"], after: Float[Tensor, "h w 3"]) -> Float[Tensor, "h w"]:
    """Largest difference of red, green and blue, 0..1."""
    return (after - before).abs().amax(-1)


def change_limit(changes: Sequence[Float[Tensor, "h w"]]) -> float:
    """The difference that a map of differences shows brightest: what one pixel in a thousand exceeds."""
    found = torch.cat([each.flatten() for each in changes]).sort().values
    return max(found[round(0.999 * (len(found) - 1))].item(), SMALLEST_LIMIT)


def change_colours(change: Float[Tensor, "h w"], limit: float) -> Float[Tensor, "h w 3"]:
    """A map of differences: no difference is black, `limit` and more is bright yellow."""
    fade = (change / limit * 4).clamp(0.0, 1.0)[..., None]
    return scalar_colours(change, (0.0, limit)) * fade
