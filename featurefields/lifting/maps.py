"""Feature pictures of views, as lifting reads them.

Letters: d feature dimension · e = d + 1 · h w pixels.
"""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from featurefields.scene import View

Maps = Mapping[str, Callable[[], Float[Tensor, "h w d"]]]
"""View name → a function that makes the view's feature picture at its camera's size; called when needed."""


def counted(view: View, like: Tensor) -> Bool[Tensor, "h w"]:
    """Which pixels of a view count (its mask), on the device of `like`; without a mask it takes no memory."""
    mask = view.picture.mask()
    if mask is None:
        return torch.ones(1, 1, dtype=torch.bool, device=like.device).expand(
            view.camera.height, view.camera.width
        )
    return mask.to(like.device)


def weighted(picture: Float[Tensor, "h w d"], weight: Float[Tensor, "h w"]) -> Float[Tensor, "h w e"]:
    """The picture times the weight of every pixel, and the weight itself as a last channel."""
    result = weight.new_empty(*weight.shape, picture.shape[-1] + 1)
    torch.mul(picture.to(weight), weight[..., None], out=result[..., :-1])
    result[..., -1] = weight
    return result
