"""Pictures of a sample at one size.

Letters: h w stored pixels · H W pixels of the sample.
"""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from featurefields.images import read_channels, read_depth, read_ids, read_image
from featurefields.readers.probe_sets.interface import as_labels

Box = tuple[int, int, int, int]
"""(left, top, right, bottom) in stored pixels."""
LEAST_NORMAL, LONGEST_NORMAL = 0.5, 1.3
"""Lengths of what counts as a stored normal; backgrounds are stored as other colours."""


def fitted(size: tuple[int, int], longest_side: int | None) -> tuple[int, int]:
    """`size` = (width, height), made smaller in proportion where its longer side has more pixels than allowed."""
    if longest_side is None or max(size) <= longest_side:
        return size
    share = longest_side / max(size)
    return max(1, round(size[0] * share)), max(1, round(size[1] * share))


def nearest(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixels (h w …) at `size` = (width, height): the stored pixel in which each new one's centre lies."""
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    down = ((torch.arange(size[1]) + 0.5) * (height / size[1])).long().clamp(max=height - 1)
    across = ((torch.arange(size[0]) + 0.5) * (width / size[0])).long().clamp(max=width - 1)
    return pixels[down[:, None], across]


def resized_image(image: Float[Tensor, "h w 3"], size: tuple[int, int]) -> Float[Tensor, "H W 3"]:
    """Colours at `size` = (width, height), averaged over areas when it is smaller."""
    import cv2

    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    shrinks = width >= size[0] and height >= size[1]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return torch.from_numpy(cv2.resize(np.ascontiguousarray(image.numpy()), size, interpolation=way))


def image_of(path: Path, size: tuple[int, int], box: Box | None = None) -> "partial[Tensor]":
    """A function that reads a photo, cuts out the box and resizes it."""
    return partial(_image, path, size, box)


def depth_of(path: Path, unit: float, size: tuple[int, int], box: Box | None = None) -> "partial[Tensor]":
    """A function that reads a depth map (metres = stored value x `unit`), cuts out the box and resizes it."""
    return partial(_depth, path, unit, size, box)


def labels_of(path: Path, classes: int, first: int, size: tuple[int, int]) -> "partial[Tensor]":
    """A function that reads ids `first` … as labels 0 … `classes` - 1, all others as ignored."""
    return partial(_labels, path, classes, first, size)


def normal_of(path: Path, size: tuple[int, int]) -> "partial[Tensor]":
    """A function that reads normals: a .npy array of vectors (h w 3), or a picture of (n + 1) / 2."""
    return partial(_normal, path, size)


def unit_normals(stored: Float[Tensor, "h w 3"]) -> Float[Tensor, "h w 3"]:
    """Unit vectors; zero where a stored vector is not about 1 long."""
    length = stored.norm(dim=-1, keepdim=True)
    known = (length > LEAST_NORMAL) & (length < LONGEST_NORMAL)
    return torch.where(known, normalize(stored, dim=-1), 0.0)


def _image(path: Path, size: tuple[int, int], box: Box | None) -> Tensor:
    return resized_image(_cut(read_image(path), box), size)


def _depth(path: Path, unit: float, size: tuple[int, int], box: Box | None) -> Tensor:
    return nearest(_cut(read_depth(path, unit=unit), box), size)


def _labels(path: Path, classes: int, first: int, size: tuple[int, int]) -> Int[Tensor, "H W"]:
    return nearest(as_labels(read_ids(path), classes, first=first), size)


def _normal(path: Path, size: tuple[int, int]) -> Float[Tensor, "H W 3"]:
    if path.suffix == ".npy":
        stored = torch.from_numpy(np.load(path, allow_pickle=False).astype(np.float32))
    else:
        stored = 2 * read_channels(path)[..., :3] - 1
    return nearest(unit_normals(stored), size)


def _cut(pixels: Tensor, box: Box | None) -> Tensor:
    if box is None:
        return pixels
    left, top, right, bottom = box
    return pixels[top:bottom, left:right]
