"""The surroundings: what pixels show that no surface explains, on a sphere far away.

Letters: n Gaussians of the shell · m pixels · h w pixels.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from featurefields.camera import Camera
from featurefields.maths.harmonics import CONSTANT
from featurefields.splats import Splats

FAR = 100.0
"""The shell is so many times as far as the scene is wide: it hardly shifts between the cameras."""
PIXELS = 2.0
"""Distance between the shell's Gaussians, in pixels of the finest view."""
WIDTH = 0.55
"""Standard deviation of a Gaussian of the shell, in distances to its neighbours."""
OPAQUE = 0.99
"""Opacity of the shell."""


class Shell:
    """Colours by direction on the six faces of a cube, gathered view by view."""

    def __init__(self, cameras: Sequence[Camera], reach: float) -> None:
        """`reach`: distance from the cameras' middle beyond which there is no surface, world units."""
        positions = torch.stack([camera.position for camera in cameras])
        self.centre = positions.mean(0)
        spread = float((positions - self.centre).norm(dim=-1).max())
        self.radius = FAR * max(reach, spread, 1e-3)
        finest = max(float(camera.focal_px.max()) for camera in cameras)
        self.cells = max(8, math.ceil(2 * finest / PIXELS))
        self.total = positions.new_zeros(6 * self.cells**2, 4, dtype=torch.float64)

    def add(self, camera: Camera, colours: Float[Tensor, "h w 3"], free: Bool[Tensor, "h w"]) -> None:
        """One view's pixels that show surroundings."""
        directions, shown = camera.directions()[free], colours[free]
        cells = self._cell(directions)
        values = torch.cat([shown, torch.ones_like(shown[:, :1])], dim=-1).double()
        self.total.index_add_(0, cells, values)

    def splats(self) -> Splats:
        """A Gaussian for every direction that was seen; columns as those of `pixel_gaussians`."""
        seen = torch.nonzero(self.total[:, 3] > 0).squeeze(-1)
        colours = (self.total[seen, :3] / self.total[seen, 3:]).to(self.centre)
        directions = self._direction(seen)
        size = self.radius * 2 / self.cells * WIDTH * directions.abs().amax(-1)
        quats = colours.new_zeros(len(seen), 4)
        quats[:, 0] = 1
        return Splats(
            self.centre + self.radius * directions,
            quats,
            torch.log(size)[:, None].repeat(1, 3),
            torch.full_like(size, math.log(OPAQUE / (1 - OPAQUE))),
            {"harmonics": ((colours - 0.5) / CONSTANT)[:, None], "normals": -directions},
        )

    def _cell(self, directions: Float[Tensor, "m 3"]) -> Int[Tensor, "m"]:
        """Index of the cell in which a direction lies."""
        axis = directions.abs().argmax(-1)
        main = directions.gather(-1, axis[:, None])
        others = torch.tensor([[1, 2], [0, 2], [0, 1]]).to(axis)[axis]
        place = directions.gather(-1, others) / main.abs()
        column, row = ((place + 1) / 2 * self.cells).floor().long().clamp(0, self.cells - 1).unbind(-1)
        face = 2 * axis + (main[:, 0] < 0)
        return (face * self.cells + row) * self.cells + column

    def _direction(self, cells: Int[Tensor, "n"]) -> Float[Tensor, "n 3"]:
        """Unit direction of the middle of a cell."""
        face = cells // self.cells**2
        place = torch.stack([cells % self.cells, cells // self.cells % self.cells], -1)
        place = ((place + 0.5) / self.cells * 2 - 1).to(self.centre)
        main = torch.where(face % 2 == 0, 1.0, -1.0).to(place)
        others = torch.tensor([[1, 2], [0, 2], [0, 1]]).to(face)[face // 2]
        directions = place.new_zeros(len(cells), 3)
        directions.scatter_(1, (face // 2)[:, None], main[:, None])
        directions.scatter_(1, others, place)
        return torch.nn.functional.normalize(directions, dim=-1)
