"""The surroundings: what pixels show that no surface explains, on a sphere far away.

Letters: n Gaussians · k coarse cells · m pixels · h w pixels.

Two layers of Gaussians by direction. The shell has the views' own resolution, where they look past all surfaces. The
backdrop behind it is coarse and closed: what nobody has seen gets the colour of what was seen nearest to it, which is
a guess, but a better one than black.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from featurefields.camera import Camera
from featurefields.lifting.cube import cell_direction, cell_of, cell_width
from featurefields.maths.harmonics import CONSTANT
from featurefields.splats import Splats, concatenate

FAR = 100.0
"""The shell is so many times as far as the scene is wide: it hardly shifts between the cameras."""
BEHIND = 1.2
"""The backdrop is so many times as far as the shell."""
PIXELS = 2.0
"""Distance between the shell's Gaussians, in pixels of the finest view."""
WIDTH, BACKDROP_WIDTH = 0.6, 0.8
"""Standard deviations of a Gaussian of the shell and of the backdrop, in distances to its neighbours."""
OPAQUE = 0.995
"""Opacity of both."""
COARSE = 16
"""Cells of the backdrop along an edge of the cube: about six degrees."""
SURFACE = 0.05
"""Weight of surfaces beside surroundings in the colour of the backdrop."""


class Shell:
    """Colours by direction, gathered view by view."""

    def __init__(self, cameras: Sequence[Camera], reach: float) -> None:
        """`reach`: distance from the cameras' middle beyond which there is no surface, world units."""
        positions = torch.stack([camera.position for camera in cameras])
        self.centre = positions.mean(0)
        spread = float((positions - self.centre).norm(dim=-1).max())
        self.radius = FAR * max(reach, spread, 1e-3)
        finest = max(float(camera.focal_px.max()) for camera in cameras)
        self.cells = max(COARSE, math.ceil(2 * finest / PIXELS))
        self.fine = positions.new_zeros(6 * self.cells**2, 4, dtype=torch.float64)
        self.coarse = positions.new_zeros(6 * COARSE**2, 4, dtype=torch.float64)

    def add(
        self,
        camera: Camera,
        colours: Float[Tensor, "h w 3"],
        free: Bool[Tensor, "h w"],
        counts: Bool[Tensor, "h w"] | None = None,
    ) -> None:
        """One view: its colours, where it shows surroundings, and which pixels count at all (None: all)."""
        directions = camera.directions().reshape(-1, 3)
        values = torch.cat([colours.reshape(-1, 3), torch.ones_like(directions[:, :1])], dim=-1).double()
        weight = torch.where(free, 1.0, SURFACE).reshape(-1, 1).double()
        if counts is not None:
            weight = weight * counts.reshape(-1, 1)
        self.coarse.index_add_(0, cell_of(directions, COARSE), weight * values)
        shown = free.reshape(-1) if counts is None else (free & counts).reshape(-1)
        self.fine.index_add_(0, cell_of(directions[shown], self.cells), values[shown])

    def splats(self) -> Splats:
        """Shell and backdrop; columns as those of `pixel_gaussians`. Empty when no view was added."""
        seen = torch.nonzero(self.fine[:, 3] > 0).squeeze(-1)
        fine = (self.fine[seen, :3] / self.fine[seen, 3:]).to(self.centre)
        behind = torch.arange(len(self.coarse), device=seen.device)
        if not bool((self.coarse[:, 3] > 0).any()):
            behind = behind[:0]
        return concatenate(
            [
                self._layer(seen, self.cells, fine, self.radius, WIDTH),
                self._layer(behind, COARSE, self._backdrop(behind), BEHIND * self.radius, BACKDROP_WIDTH),
            ]
        )

    def _backdrop(self, cells: Int[Tensor, "k"]) -> Float[Tensor, "k 3"]:
        """Colours of all coarse cells: weighted means of those seen, by the fourth power of their distance."""
        seen = torch.nonzero(self.coarse[:, 3] > 0).squeeze(-1)
        directions, known = (cell_direction(part, COARSE).double() for part in (cells, seen))
        apart = torch.acos((directions @ known.T).clamp(-1, 1))
        weight = 1 / (apart**2 + (2 / COARSE) ** 2) ** 2
        full = (self.coarse[seen, 3] / self.coarse[seen, 3].max()).clamp(max=0.1) / 0.1
        shares = weight * full.cpu()
        colours = (self.coarse[seen, :3] / self.coarse[seen, 3:]).cpu()
        return (shares @ colours / shares.sum(-1, keepdim=True)).to(self.centre)

    def _layer(
        self,
        cells: Int[Tensor, "n"],
        per_edge: int,
        colours: Float[Tensor, "n 3"],
        radius: float,
        width: float,
    ) -> Splats:
        directions = cell_direction(cells, per_edge).to(self.centre)
        size = radius * width * cell_width(directions, per_edge)
        quats = directions.new_zeros(len(cells), 4)
        quats[:, 0] = 1
        return Splats(
            self.centre + radius * directions,
            quats,
            torch.log(size)[:, None].repeat(1, 3),
            torch.full_like(size, math.log(OPAQUE / (1 - OPAQUE))),
            {"harmonics": ((colours - 0.5) / CONSTANT)[:, None], "normals": -directions},
        )
