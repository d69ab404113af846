"""A view whose contribution matrix is kept: drawing and lifting become sparse products.

Letters: n Gaussians · c channels · h w pixels · k contributors.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from featurefields.raster.cpu.contributions import Contributions
from featurefields.raster.cpu.products import apply, measure, padded, strongest, transpose
from featurefields.raster.interface import Contributors, Visibility


def as_array(tensor: Tensor) -> NDArray:
    """The tensor's numbers as a contiguous float32 array, shared where possible."""
    return np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float32)


class _Apply(torch.autograd.Function):
    """W times channels; its derivative is the transpose."""

    @staticmethod
    def forward(ctx: Any, channels: Tensor, contributions: Contributions) -> Tensor:
        ctx.contributions = contributions
        table = padded(as_array(channels), contributions.frame.threads)
        return torch.from_numpy(apply(contributions, table, channels.shape[1]))

    @staticmethod
    def backward(ctx: Any, g_image: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return torch.from_numpy(transpose(ctx.contributions, as_array(g_image))), None


class CpuView:
    """See `FrozenView`. Entries beyond the budget are made anew in every product. Safe to use from several threads."""

    def __init__(self, contributions: Contributions) -> None:
        contributions.complete()
        self._contributions = contributions
        self.alpha = torch.from_numpy(contributions.alpha)

    @property
    def nbytes(self) -> int:
        return self._contributions.nbytes + self._contributions.fixed_nbytes

    def draw(self, channels: Float[Tensor, "n c"]) -> Float[Tensor, "h w c"]:
        return _Apply.apply(channels, self._contributions)  # type: ignore[no-any-return]

    def gather(self, maps: Float[Tensor, "h w c"]) -> Float[Tensor, "n c"]:
        return torch.from_numpy(transpose(self._contributions, as_array(maps)))

    def contributors(self, count: int = 1) -> Contributors:
        return Contributors(*map(torch.from_numpy, strongest(self._contributions, count)))

    def visibility(self) -> Visibility:
        return Visibility(*map(torch.from_numpy, measure(self._contributions)))
