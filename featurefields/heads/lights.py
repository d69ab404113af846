"""What surroundings send towards a surface, blurred by its roughness.

Letters: `...` any batch of directions · r c rows and columns of the map · w = c + 2 · l levels · m texels.

Both lights answer the same call: linear light, never negative, averaged over the lobe that a mirror of perceptual
`roughness` sees around the unit direction `leaving`.
"""

from math import log, pi

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import grid_sample, interpolate, softplus

from featurefields.maths.reflections import IDE_DIM, ide, lobe_width


class LightNetwork(nn.Module):
    """Light by a small network of the integrated directional encoding, after Ref-NeRF (Verbin et al. 2022)."""

    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(IDE_DIM, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 3)
        )

    def forward(
        self, leaving: Float[Tensor, "... 3"], roughness: Float[Tensor, "... 1"]
    ) -> Float[Tensor, "... 3"]:
        return softplus(self.network(ide(leaving, lobe_width(roughness))))


class LightMap(nn.Module):
    """Light as a picture of the sphere (equirectangular, z up, a texel about 5.6 degrees), blurred beforehand.

    Between the roughnesses of `LEVELS` it is interpolated; every level is the map averaged with the lobe of its
    roughness, so that rough and smooth things see the same surroundings.
    """

    ROWS, COLUMNS = 32, 64
    LEVELS = (0.0, 0.3, 0.42, 0.6, 0.8, 1.0)
    REDUCED = (2, 4, 8, 8, 8)
    """How much coarser than the map the blurred levels are calculated, before they are interpolated."""

    def __init__(self, level: float = 0.5) -> None:
        super().__init__()
        self.log_light = nn.Parameter(torch.full((3, self.ROWS, self.COLUMNS), log(level)))
        self._blur: Tensor
        self._edges: Tensor
        self.register_buffer("_blur", self._kernels(), persistent=False)
        self.register_buffer("_edges", torch.tensor(self.LEVELS), persistent=False)

    def _kernels(self) -> Float[Tensor, "m texels"]:
        """Rows: weights of all texels in every texel of every blurred level."""
        fine, area = _texels(self.ROWS, self.COLUMNS)
        kernels = []
        for roughness, reduced in zip(self.LEVELS[1:], self.REDUCED, strict=True):
            coarse, _ = _texels(self.ROWS // reduced, self.COLUMNS // reduced)
            weights = torch.exp((coarse @ fine.T - 1) / lobe_width(torch.tensor([roughness]))) * area
            kernels.append(weights / weights.sum(-1, keepdim=True))
        return torch.cat(kernels)

    @torch.no_grad()
    def brighten(self, light: float) -> None:
        """Add as much linear light everywhere."""
        self.log_light.copy_((torch.exp(self.log_light) + light).log())

    def levels(self) -> Float[Tensor, "3 l r w"]:
        """The map and its blurs; a column of either side is repeated on the other."""
        light = torch.exp(self.log_light)
        # three rows, not three columns: the matrix product is many times faster that way round
        blurred = light.flatten(1) @ self._blur.to(light).T
        sizes = [(self.ROWS // reduced, self.COLUMNS // reduced) for reduced in self.REDUCED]
        parts = blurred.split([rows * columns for rows, columns in sizes], dim=1)
        wide = [_wrapped(light, 1)]
        for part, (rows, columns), reduced in zip(parts, sizes, self.REDUCED, strict=True):
            around = _wrapped(part.view(3, rows, columns), 1)
            fine = interpolate(around[None], scale_factor=reduced, mode="bilinear", align_corners=False)[0]
            wide.append(fine[..., reduced - 1 : 1 - reduced])
        return torch.stack(wide, dim=1)

    def forward(
        self, leaving: Float[Tensor, "... 3"], roughness: Float[Tensor, "... 1"]
    ) -> Float[Tensor, "... 3"]:
        x, y, z = leaving.reshape(-1, 3).unbind(-1)
        row = torch.atan2((x * x + y * y + 1e-12).sqrt(), z) / pi * self.ROWS
        column = (torch.atan2(y, x) / (2 * pi) + 0.5) * self.COLUMNS + 1
        level = self._level(roughness.expand(*leaving.shape[:-1], 1).reshape(-1))
        size = torch.tensor([self.COLUMNS + 2, self.ROWS, len(self.LEVELS)]).to(leaving)
        places = torch.stack([column, row, level + 0.5], dim=-1) * 2 / size - 1
        taken = grid_sample(
            self.levels()[None], places[None, :, None, None], padding_mode="border", align_corners=False
        )
        return taken[0, :, :, 0, 0].T.reshape(leaving.shape)

    def _level(self, roughness: Float[Tensor, "m"]) -> Float[Tensor, "m"]:
        """Fractional index into LEVELS."""
        edges = self._edges.to(roughness)
        upper = torch.searchsorted(edges, roughness.detach().contiguous()).clamp(1, len(edges) - 1)
        low, high = edges[upper - 1], edges[upper]
        return upper - 1 + (roughness - low) / (high - low)


def _texels(rows: int, columns: int) -> tuple[Float[Tensor, "m 3"], Float[Tensor, "m"]]:
    """Directions of an equirectangular map's texels, row by row, and their relative solid angles."""
    polar = (torch.arange(rows) + 0.5) / rows * pi
    around = ((torch.arange(columns) + 0.5) / columns - 0.5) * 2 * pi
    polar, around = torch.meshgrid(polar, around, indexing="ij")
    directions = torch.stack([polar.sin() * around.cos(), polar.sin() * around.sin(), polar.cos()], dim=-1)
    return directions.reshape(-1, 3), polar.sin().reshape(-1)


def _wrapped(maps: Float[Tensor, "3 r c"], count: int) -> Float[Tensor, "3 r w"]:
    return torch.cat([maps[..., -count:], maps, maps[..., :count]], dim=-1)
