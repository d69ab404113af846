"""What an extractor is, and the map it makes of one image.

Letters: b batch · h w pixels · hp wp rows and columns of patches · d feature dimension.

An image of h x w pixels has hp = h / stride rows of patches, rounded to the nearest whole number, at least
one; the extractor resizes the image to exactly hp x wp patches first (`fit_to_stride`). So patch (i, j)
describes the region of the image centred at pixel coordinates x = (j + 0.5) w / wp, y = (i + 0.5) h / hp.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Float16
from torch import Tensor
from torch.nn.functional import interpolate


@runtime_checkable
class Extractor(Protocol):
    """Turns images into dense features. Deterministic: the same pixels give the same features."""

    fingerprint: str
    """Identifies the model, the content of its weights and its settings."""
    dim: int
    """Length of a feature."""
    stride: int
    """Pixels from one patch to the next."""

    def __call__(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d hp wp"]:
        """Features of sRGB images in 0..1, without gradients, on the device of the images."""
        ...


@dataclass(frozen=True)
class FeatureMap:
    """Features of one image, stored in half precision.

    Attributes:
        features: one feature a patch.
        size: (width, height) in pixels of the image the map describes.
    """

    features: Float16[Tensor, "d hp wp"]
    size: tuple[int, int]

    @property
    def dim(self) -> int:
        return self.features.shape[0]

    @property
    def grid(self) -> tuple[int, int]:
        """(columns, rows) of patches, in the order of `size`."""
        return self.features.shape[2], self.features.shape[1]


def grid_of(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """(columns, rows) of patches of an image of `size` = (width, height)."""
    width, height = size
    return max(1, (width + stride // 2) // stride), max(1, (height + stride // 2) // stride)


def fit_to_stride(images: Float[Tensor, "b 3 h w"], stride: int) -> Float[Tensor, "b 3 hs ws"]:
    """Images resized to the nearest whole number of patches in each direction (untouched when they fit)."""
    height, width = images.shape[-2:]
    columns, rows = grid_of((width, height), stride)
    if (rows * stride, columns * stride) == (height, width):
        return images
    size = (rows * stride, columns * stride)
    return interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)
