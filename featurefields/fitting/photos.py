"""The photos of a fit, kept small in memory and served at any resolution.

Letters: h w pixels.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from featurefields.camera import Camera
from featurefields.scene import View

LONGEST_PX_CPU, LONGEST_PX_GPU = 1000, 1600
"""Longer sides of photos that are fitted in minutes."""


def longest_px(device: torch.device | str) -> int:
    """To how many pixels along the longer side photos are reduced where nobody says otherwise."""
    return LONGEST_PX_CPU if torch.device(device).type == "cpu" else LONGEST_PX_GPU


@dataclass(frozen=True)
class Photo:
    """One photo in memory: camera, 8-bit colours, and which pixels count (None: all)."""

    camera: Camera
    colours: UInt8[Tensor, "h w 3"]
    mask: Bool[Tensor, "h w"] | None

    @staticmethod
    def of(view: View) -> "Photo":
        return Photo(view.camera, (view.picture.image() * 255).round().to(torch.uint8), view.picture.mask())

    def target(self, device: torch.device) -> Float[Tensor, "h w 3"]:
        return self.colours.to(device).float() / 255

    def reduced(self, factor: int) -> "Photo":
        """The photo averaged over factor x factor pixels; a pixel counts if all of its parts do."""
        width, height = self.camera.width // factor, self.camera.height // factor
        crop = slice(0, height * factor), slice(0, width * factor)
        parts = self.colours[crop].reshape(height, factor, width, factor, 3).float()
        colours = parts.mean((1, 3)).round().to(torch.uint8)
        mask = None
        if self.mask is not None:
            mask = self.mask[crop].reshape(height, factor, width, factor).all(3).all(1)
        camera = Camera(
            self.camera.world_from_camera,
            self.camera.focal_px / factor,
            self.camera.centre_px / factor,
            (width, height),
        )
        return Photo(camera, colours, mask)
