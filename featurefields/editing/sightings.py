"""From where Gaussians are seen, and how well.

Letters: n Gaussians · m the chosen ones · p some of those · v directions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from featurefields.camera import Camera
from featurefields.editing.dome import even_directions
from featurefields.raster import FrozenViews, RasterConfig, Rasterizer
from featurefields.splats import Splats

UNSEEN = 1e-4
"""What every direction counts at least, in shares of the best: directions of Gaussians that nothing shows."""
AROUND = 96
"""Directions of the whole sphere, where no cameras are known."""


@dataclass(frozen=True)
class Sightings:
    """Directions from which some Gaussians are seen.

    Attributes:
        weight: how well each direction sees each Gaussian (m v); no row is all 0.
        means: places of the Gaussians (m 3).
        positions: from where they are seen (v 3), if from somewhere.
        directions: unit directions towards them (v 3), the same for all, if not.
    """

    weight: Float[Tensor, "m v"]
    means: Float[Tensor, "m 3"]
    positions: Float[Tensor, "v 3"] | None = None
    directions: Float[Tensor, "v 3"] | None = None

    def __len__(self) -> int:
        return len(self.means)

    def towards(self, rows: slice) -> Float[Tensor, "p v 3"]:
        """Unit directions to some of the Gaussians."""
        if self.positions is not None:
            return normalize(self.means[rows, None] - self.positions, dim=-1)
        assert self.directions is not None
        return self.directions.expand(len(self.means[rows]), -1, -1)

    def select(self, rows: Bool[Tensor, "m"]) -> "Sightings":
        """Those of some of the Gaussians."""
        return replace(self, weight=self.weight[rows], means=self.means[rows])

    def to(self, device: torch.device | str) -> "Sightings":
        """The same on another device."""
        moved = {name: value for name, value in vars(self).items() if value is not None}
        return Sightings(**{name: value.to(device) for name, value in moved.items()})


@torch.no_grad()
def seen_by(
    splats: Splats,
    mask: Bool[Tensor, "n"],
    cameras: Sequence[Camera],
    *,
    rasterizer: Rasterizer,
    config: RasterConfig = RasterConfig(),
    on_view: Callable[[], object] = lambda: None,
) -> Sightings:
    """Sightings of the masked Gaussians by cameras, weighted by how much of them each camera's picture shows.

    What no camera shows is taken to be seen by all of them alike.
    """
    views = FrozenViews(rasterizer, splats, cameras, config, budget_bytes=0)
    weight = []
    for index in range(len(cameras)):
        weight.append(views[index].visibility().total[mask])
        on_view()
    means = splats.means[mask]
    positions = torch.stack([camera.position for camera in cameras]).to(means)
    return Sightings(_floored(torch.stack(weight, dim=-1)), means, positions=positions)


@torch.no_grad()
def seen_from_above(splats: Splats, mask: Bool[Tensor, "n"]) -> Sightings:
    """Sightings from the hemisphere over every masked Gaussian, weighted by its foreshortening.

    Above is where its normal points; where there is none, its shortest axis, away from the middle of what is masked.
    """
    part = splats.select(mask)
    if "normals" in part.columns and bool(part.columns["normals"].any()):
        normals = normalize(part.columns["normals"], dim=-1)
    else:
        normals, weight = part.shortest_axes, part.footprints[:, None]
        middle = (weight * part.means).sum(0) / weight.sum().clamp(min=1e-12)
        outward = ((part.means - middle) * normals).sum(-1, keepdim=True)
        normals = torch.where(outward < 0, -normals, normals)
    towards = -even_directions(AROUND).to(part.means)
    facing = -(normals @ towards.T)
    return Sightings(_floored(facing.clamp(min=0)), part.means, directions=towards)


def _floored(weight: Float[Tensor, "m v"]) -> Float[Tensor, "m v"]:
    best = weight.amax(-1, keepdim=True)
    return torch.where(best > 0, weight + UNSEEN * best, 1.0)
