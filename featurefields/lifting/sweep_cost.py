"""How well pictures agree at hypothetical depths.

Letters: c colours · h w pixels · D hypotheses · b hypotheses at once.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import grid_sample, pad

from featurefields.camera import Camera
from featurefields.lifting.geometry import PosedPicture

FLAT = 1e-4
"""Variance (per colour, of values in 0..1) that counts as texture; less is noise and correlates with nothing."""
CHUNK_BYTES = 64 << 20
"""Memory for the hypotheses that are compared at once."""


def inverse_depths(near: float, count: int) -> Float[Tensor, "D"]:
    """Hypotheses: inverse depths, even from 0 (infinitely far: the surroundings) to that of `near`."""
    return torch.linspace(0, 1 / near, count)


def agreement(
    reference: PosedPicture,
    sources: Sequence[PosedPicture],
    hypotheses: Float[Tensor, "D"],
    *,
    window: int = 7,
    aggregate: int = 5,
) -> Float[Tensor, "D h w"]:
    """Normalised cross-correlation (-1..1) of a window around every pixel with what the sources show there.

    Mean over the better half of the sources (at least one), so that one in which the surface is hidden does not
    count; averaged over a box of `aggregate` pixels; -1 where no source sees the point.
    """
    picture = reference.picture
    height, width = picture.shape[1:]
    better = max(1, (len(sources) + 1) // 2)
    own = _Window(picture[None], window)
    volume = picture.new_empty(len(hypotheses), height, width)
    size = max(1, CHUNK_BYTES // (picture[0].nbytes * 24))
    for rows in torch.arange(len(hypotheses)).split(size):
        best = picture.new_full((better, len(rows), height, width), -1.0)
        for source in sources:
            warped, seen = warp(source, reference.camera, hypotheses[rows].to(picture))
            found = torch.where(seen, own.correlation(warped), -1.0)
            for place in range(better):  # keep the `better` largest, largest first
                larger = torch.maximum(best[place], found)
                found = torch.minimum(best[place], found)
                best[place] = larger
        volume[rows] = _box(best.mean(0)[:, None], aggregate)[:, 0]
    return volume


def warp(
    source: PosedPicture, camera: Camera, inverse_depth: Float[Tensor, "b"]
) -> tuple[Float[Tensor, "b 3 h w"], Tensor]:
    """What `source` shows of the points at these inverse depths behind `camera`'s pixels, and whether it shows them.

    A point is homogeneous, (ray, inverse depth), so that infinitely far ones are points like others.
    """
    turn = source.camera.world_from_camera[:3, :3].T @ camera.world_from_camera[:3, :3]
    shift = source.camera.world_from_camera[:3, :3].T @ (camera.position - source.camera.position)
    xy = (camera.pixel_centres() - camera.centre_px) / camera.focal_px
    rays = torch.cat([xy, torch.ones_like(xy[..., :1])], dim=-1) @ turn.T
    local = rays + inverse_depth[:, None, None, None] * shift
    depth = local[..., 2]
    pixels = local[..., :2] / depth.clamp(min=1e-6)[..., None] * source.camera.focal_px
    size = torch.tensor(source.camera.size).to(pixels)
    places = (pixels + source.camera.centre_px) * 2 / size - 1
    seen = (depth > 1e-6) & (places.abs() <= 1).all(-1)
    taken = source.picture[None].expand(len(inverse_depth), -1, -1, -1)
    return grid_sample(taken, places, padding_mode="border", align_corners=False), seen


class _Window:
    """A picture's windows, compared with those of other pictures."""

    def __init__(self, picture: Float[Tensor, "1 3 h w"], size: int) -> None:
        self.picture, self.size = picture, size
        self.mean = _box(picture, size)
        self.variance = self._variance(picture, self.mean)

    def _variance(self, picture: Float[Tensor, "b 3 h w"], mean: Float[Tensor, "b 3 h w"]) -> Tensor:
        square = _box(picture.square().sum(1, keepdim=True), self.size)
        return (square - mean.square().sum(1, keepdim=True)).clamp(min=0)

    def correlation(self, other: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b h w"]:
        mean = _box(other, self.size)
        product = _box((other * self.picture).sum(1, keepdim=True), self.size)
        covariance = product - (mean * self.mean).sum(1, keepdim=True)
        both = (self.variance + 3 * FLAT) * (self._variance(other, mean) + 3 * FLAT)
        return (covariance / both.sqrt())[:, 0]


def _box(pictures: Float[Tensor, "b c h w"], size: int) -> Float[Tensor, "b c h w"]:
    """Means over square windows, cut off at the border; by running sums, whatever the size."""
    return _running_mean(_running_mean(pictures, size, -1), size, -2)


def _running_mean(pictures: Float[Tensor, "b c h w"], size: int, axis: int) -> Float[Tensor, "b c h w"]:
    length, half = pictures.shape[axis], size // 2
    around = [half + 1, half] if axis == -1 else [0, 0, half + 1, half]
    sums = pad(pictures, around).cumsum(axis)
    means = sums.narrow(axis, size, length) - sums.narrow(axis, 0, length)
    place = torch.arange(length, device=pictures.device)
    count = (place + half + 1).clamp(max=length) - (place - half).clamp(min=0)
    return means.div_(count if axis == -1 else count[:, None])
