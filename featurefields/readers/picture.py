"""Pixels of one photo, undistorted and resized to its view's camera.

Letters: h w pixels of the camera · c channels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from featurefields.errors import SceneError
from featurefields.images import (
    WHITE,
    Colour,
    composited,
    read_channels,
    read_depth,
    read_ids,
    read_mask,
    read_size,
)
from featurefields.lens import Lens

LABEL_LAYERS = ("instance",)


@dataclass(frozen=True)
class PhotoFile:
    """A photo, its companions and the two lenses between which they are resampled; implements `Picture`.

    Colours are sampled bilinearly and then averaged over areas; masks, depths and ids take the value of the
    pixel in which the camera pixel's centre lies. A companion may have another resolution than the photo.

    Attributes:
        path: the photo file.
        lens: the photo's lens as taken.
        target: pinhole lens of the view's camera.
        mask_path: picture that is not zero where the photo shows the scene.
        depth_path: depth map along the optical axis.
        depth_unit: world units of one stored depth unit.
        layer_paths: further aligned pictures by name.
        background: what shows through where the photo has alpha.
    """

    path: Path
    lens: Lens
    target: Lens
    mask_path: Path | None = None
    depth_path: Path | None = None
    depth_unit: float = 1.0
    layer_paths: Mapping[str, Path] = field(default_factory=dict)
    background: Colour = WHITE

    def image(self) -> Float[Tensor, "h w 3"]:
        """sRGB colours in 0..1. Raises `SceneError` when the file is unreadable or of another shape."""
        return self._resampled(composited(read_channels(self.path), self.background), self.path)

    def mask(self) -> Bool[Tensor, "h w"] | None:
        """True where the photo shows the scene; None without a mask file (alpha is no mask)."""
        return None if self.mask_path is None else self._picked(read_mask(self.mask_path), self.mask_path)

    def depth(self) -> Float[Tensor, "h w"] | None:
        """Depth along the optical axis in world units, 0 where unknown; None without a depth file."""
        if self.depth_path is None:
            return None
        return self._picked(read_depth(self.depth_path, unit=self.depth_unit), self.depth_path)

    def layer(self, name: str) -> Float[Tensor, "h w c"] | None:
        """Another aligned picture, None when there is none.

        "alpha" is the photo's own (c = 1); companions keep their channels in 0..1, and ids (c = 1) are whole.
        """
        path = self.path if name == "alpha" else self.layer_paths.get(name)
        if path is None:
            return None
        if name in LABEL_LAYERS:
            return self._picked(read_ids(path), path).float()[..., None]
        channels = read_channels(path)
        if name == "alpha":
            return self._resampled(channels[..., -1:], path) if channels.shape[-1] in (2, 4) else None
        return self._resampled(channels, path)

    def photo_to_camera(self, x: int | float, y: int | float) -> tuple[float, float]:
        """Pixel of the view's camera that shows what pixel (x, y) of the photo file shows.

        Both are continuous (a pixel's centre is at +0.5). What undistortion cut off lands outside the camera.
        """
        lens = self._lens(self.photo_size(), self.path)
        pixel = self.target.pixels(lens.rays(np.array([[x, y]], dtype=np.float64)))[0]
        return float(pixel[0]), float(pixel[1])

    def photo_size(self) -> tuple[int, int]:
        """(width, height) of the photo file."""
        return read_size(self.path)

    def _lens(self, size: tuple[int, int], path: Path) -> Lens:
        if size == self.lens.size:
            return self.lens
        if not same_shape(size, self.lens.size):
            raise SceneError(
                f"{path} has {size[0]}x{size[1]} pixels, but the intrinsics are for {self.lens.size[0]}x"
                f"{self.lens.size[1]}, another shape; restore the uncropped file or correct the intrinsics"
            )
        return self.lens.resized(size)

    def _resampled(self, pixels: Float[Tensor, "H W c"], path: Path) -> Float[Tensor, "h w c"]:
        import cv2

        size = (pixels.shape[1], pixels.shape[0])
        lens, values = self._lens(size, path), pixels.numpy()
        if lens.distorts:
            at = lens.sampling(self.target.resized(size)) - np.float32(0.5)
            values = cv2.remap(
                values, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
        if size != self.target.size:
            shrinks = size[0] >= self.target.size[0] and size[1] >= self.target.size[1]
            values = cv2.resize(
                values, self.target.size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            )
        return torch.from_numpy(np.ascontiguousarray(values)).reshape(*values.shape[:2], pixels.shape[2])

    def _picked(self, pixels: Tensor, path: Path) -> Tensor:
        size = (pixels.shape[1], pixels.shape[0])
        lens = self._lens(size, path)
        if not lens.distorts and size == self.target.size:
            return pixels
        at = torch.from_numpy(lens.sampling(self.target)).floor().long()
        return pixels[at[..., 1].clamp(0, size[1] - 1), at[..., 0].clamp(0, size[0] - 1)]


def same_shape(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two pictures differ by one scale factor, give or take a pixel of rounding in `size`."""
    least = max((size[axis] - 1) / other[axis] for axis in (0, 1))
    most = min((size[axis] + 1) / other[axis] for axis in (0, 1))
    return least <= most
