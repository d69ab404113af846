"""Plane sweeps: what a source view shows where a reference pixel would be at a given depth.

Letters: s sources · h w pixels of the reference · k planes · c channels. Everything is at one stride: cameras are
those of pictures reduced by it, so that pixel (i, j) of a feature map has its centre at (i + .5, j + .5).

With nu = 1 / depth, a reference pixel's ray r (depth 1 along the axis) is seen by a source at the homogeneous point
K_s (R r + nu t): linear in nu. Lengths are measured in units of the nearest depth: the world's scale does not matter.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import grid_sample

from featurefields.camera import Camera


class Sweep(NamedTuple):
    """One source's homogeneous pixel positions: at infinity, and what inverse depth 1 adds."""

    infinite: Float[Tensor, "h w 3"]
    shift: Float[Tensor, "3"]
    size: tuple[int, int]


def sweep_of(reference: Camera, source: Camera, stride: int, unit: float) -> Sweep:
    """The sweep of `source` for `reference` (cameras of whole pictures), lengths in `unit`s.

    Calculated in double precision: nothing is lost when the world's origin is far away.
    """
    ref, src = _reduced(reference, stride), _reduced(source, stride)
    device = reference.focal_px.device
    turn = src.world_from_camera[:3, :3].T @ ref.world_from_camera[:3, :3]
    step = src.world_from_camera[:3, :3].T @ (ref.position - src.position) / unit
    xy = (ref.pixel_centres() - ref.centre_px) / ref.focal_px
    rays = torch.cat([xy, torch.ones_like(xy[..., :1])], -1)
    K = src.intrinsics
    return Sweep((rays @ turn.T @ K.T).float().to(device), (K @ step).float().to(device), src.size)


def _reduced(camera: Camera, stride: int) -> Camera:
    """The camera, in double precision, of the padded picture reduced by `stride`: the same rays."""
    exact = camera.to("cpu").to(torch.float64)
    size = (-(-camera.width // 16) * 16 // stride, -(-camera.height // 16) * 16 // stride)
    return Camera(exact.world_from_camera, exact.focal_px / stride, exact.centre_px / stride, size)


def positions(
    sweep: Sweep, nu: Float[Tensor, "k h w"]
) -> tuple[Float[Tensor, "k h w 2"], Bool[Tensor, "k h w"]]:
    """The source's pixel where it sees each reference pixel at inverse depth `nu`, and whether it sees it."""
    place = sweep.infinite + nu[..., None] * sweep.shift
    z = place[..., 2]
    xy = place[..., :2] / z.clamp_min(1e-4)[..., None]
    w, h = sweep.size
    inside = (z > 1e-4) & (xy[..., 0] > 0) & (xy[..., 0] < w) & (xy[..., 1] > 0) & (xy[..., 1] < h)
    return xy, inside


def warped(
    features: Float[Tensor, "1 c hs ws"], sweep: Sweep, nu: Float[Tensor, "k h w"]
) -> tuple[Float[Tensor, "k h w c"], Bool[Tensor, "k h w"]]:
    """The source's features at those places (bilinear), and where it sees them at all."""
    xy, inside = positions(sweep, nu)
    k, h, w = nu.shape
    grid = (xy * (2.0 / torch.tensor(sweep.size).to(xy)) - 1.0).clamp(-2.0, 2.0)
    sampled = grid_sample(
        features, grid.reshape(1, k * h, w, 2), mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled[0].permute(1, 2, 0).reshape(k, h, w, -1), inside


def pixelwise(nu: Float[Tensor, "k"], size: tuple[int, int]) -> Float[Tensor, "k h w"]:
    """The same inverse depths at every pixel of a `size` = (width, height) map."""
    return nu[:, None, None].expand(-1, size[1], size[0])
