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
SEEN_PX = 1.0
"""Visible weight, pixels over all views, from which on a Gaussian was seen before."""


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
        known: which of these some view showed before; what was put there by an edit counts.
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
        seen = before.means.new_zeros(len(base))
        for camera in cameras:
            ones = torch.ones(camera.height, camera.width, 1).to(before.means)
            seen += rasterizer.gather(before, ones, camera.to(before.means), RasterConfig())[:, 0]
        known = torch.ones(len(after), dtype=torch.bool, device=seen.device)
        known[old] = (seen[edited.identities[old]] >= SEEN_PX) | ~stayed
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
