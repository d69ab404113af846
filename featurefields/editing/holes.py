"""Where a picture is empty or guessed after things were taken out: masks for tools that paint such places in.

Letters: n Gaussians before · m after · h w pixels.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.editing.history import Edited
from featurefields.editing.presence import hidden_rows
from featurefields.field import FeatureField
from featurefields.raster import RasterConfig, Rasterizer
from featurefields.splats import Splats

TOUCHED = 0.1
"""Share of a pixel from which on what is gone was there."""
SOLID = 0.5
"""Share of a pixel from which on what is behind fills it."""
KNOWN = 0.2
"""Of what the views show of a Gaussian now, so much must have been seen before for it to be known: the inside of a
thing, and what it stood on, are guesses that no photo ever corrected."""


@dataclass(frozen=True)
class Hole:
    """What one view shows in place of what is gone.

    Attributes:
        missing: pixels that showed it and now show nothing solid that any view saw before: to be painted in.
        revealed: pixels that showed it and now show what other views saw behind it.
    """

    missing: Bool[Tensor, "h w"]
    revealed: Bool[Tensor, "h w"]

    @property
    def touched(self) -> Bool[Tensor, "h w"]:
        return self.missing | self.revealed


@dataclass(frozen=True, eq=False)
class Holes:
    """What is gone, and what was seen before.

    Attributes:
        before: the Gaussians as they were.
        gone: which of them are not there any more: taken out, hidden or moved away.
        after: the Gaussians as they are.
        known: which of these the views showed before; what an edit put there counts.
    """

    before: Splats
    gone: Bool[Tensor, "n"]
    after: Splats
    known: Bool[Tensor, "m"]

    @staticmethod
    @torch.no_grad()
    def between(
        base: FeatureField, edited: Edited, cameras: Iterable[Camera], rasterizer: Rasterizer
    ) -> "Holes":
        """Of a field and what edits made of it; `cameras` are those whose photos are known."""
        before, after = base.splats, edited.field.splats
        old = edited.identities < len(base)
        places = before.means[edited.identities[old]]
        there = torch.zeros(len(base), dtype=torch.bool, device=before.means.device)
        stayed = (after.means[old] == places).all(-1) & ~hidden_rows(after)[old]
        there[edited.identities[old][stayed]] = True
        gone = ~there & ~hidden_rows(before)
        seen, shown = before.means.new_zeros(len(before)), after.means.new_zeros(len(after))
        for camera in cameras:
            ones, camera = torch.ones(camera.height, camera.width, 1).to(seen), camera.to(seen)
            seen += rasterizer.gather(before, ones, camera, RasterConfig())[:, 0]
            shown += rasterizer.gather(after, ones, camera, RasterConfig())[:, 0]
        known = torch.ones(len(after), dtype=torch.bool, device=seen.device)
        known[old] = (seen[edited.identities[old]] >= KNOWN * shown[old]) | ~stayed
        return Holes(before, gone, after, known)

    @torch.no_grad()
    def seen_by(self, camera: Camera, rasterizer: Rasterizer) -> Hole:
        """What `camera` sees of the holes."""
        camera = camera.to(self.before.means)
        touched = self._share(self.before, self.gone, camera, rasterizer) > TOUCHED
        solid = self._share(self.after, self.known, camera, rasterizer) >= SOLID
        return Hole(touched & ~solid, touched & solid)

    @staticmethod
    def _share(splats: Splats, rows: Tensor, camera: Camera, rasterizer: Rasterizer) -> Float[Tensor, "h w"]:
        return rasterizer.draw(splats, rows[:, None].to(splats.means), camera, RasterConfig()).image[..., 0]
