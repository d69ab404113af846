"""Geometry of splats that are there already.

Letters: h w pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from featurefields.errors import FileFormatError, UnavailableError
from featurefields.files.archive import read_archive
from featurefields.files.ply import read_ply
from featurefields.lifting.geometry import Given, PosedPicture, ViewGeometry
from featurefields.raster import RasterConfig, Rasterizer
from featurefields.splats import Splats
from featurefields.surface_depth import surface_depth

COVERED = 0.5
"""Pixels that the splats cover less have no depth."""
SHARP = 0.05
"""Contributors as far apart as this share of the depth halve the confidence."""
SURROUNDINGS = 3.0
"""What is farther than this many times the far end of the scene is surroundings (a sky of splats), not a surface."""


@dataclass(frozen=True)
class DrawnDepth:
    """Median depth of what a pixel shows; implements `GeometryProvider`."""

    splats: Splats
    rasterizer: Rasterizer
    name: str = "splat"

    @torch.no_grad()
    def __call__(
        self, pictures: Sequence[PosedPicture], *, on_view: Callable[[], object] = lambda: None
    ) -> list[ViewGeometry]:
        """Confidence is coverage, less where what covers a pixel lies at several depths."""
        found = []
        for picture in pictures:
            drawn = surface_depth(self.splats, picture.camera, self.rasterizer, config=RasterConfig())
            known = (drawn.alpha > COVERED) & (drawn.depth > 0)
            known &= drawn.depth < SURROUNDINGS * picture.far
            spread = drawn.spread / drawn.depth.clamp(min=1e-9)
            confidence = drawn.alpha / (1 + spread / SHARP)
            found.append(
                ViewGeometry(
                    torch.where(known, drawn.depth, 0.0), torch.where(known, confidence.clamp(0, 1), 0.0)
                )
            )
            on_view()
        return found


def splat_provider(argument: str, given: Given) -> DrawnDepth:
    """The factory behind "splat:<field, archive or .ply>"; the splats are brought into the pictures' frame.

    Raises:
        FileFormatError: nothing is there, or no splats.
        UnavailableError: nothing draws.
    """
    path = Path(argument).expanduser()
    if not path.exists():
        raise FileFormatError(f"{path} does not exist; splat:<path> takes a field or a 3DGS .ply")
    if given.rasterizer is None:
        raise UnavailableError("geometry of splats needs a rasterizer to draw their depth with; pass one")
    field = read_ply(path) if path.suffix.lower() == ".ply" else read_archive(path)
    field = field.moved(field.about.world_from_capture.inverse).moved(given.world_from_capture)
    return DrawnDepth(field.splats.to(given.device), given.rasterizer, f"splat:{argument}")
