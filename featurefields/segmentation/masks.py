"""Selections as pictures.

Letters: n Gaussians · s selections · h w pixels of a view's camera · H W pixels of its photo file.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.interpolate import RectBivariateSpline
from torch import Tensor
from torch.nn.functional import grid_sample

from featurefields.camera import Camera
from featurefields.field import FeatureField
from featurefields.raster import RasterConfig, Rasterizer
from featurefields.scene import Picture

LENS_KNOTS = 21
"""Lenses bend little over a small part of the photo: between so many pixels a side they are taken as linear."""


def mask_share(
    field: FeatureField, mask: Bool[Tensor, "n"], camera: Camera, *, rasterizer: Rasterizer
) -> Float[Tensor, "h w"]:
    """Share of every pixel, 0..1, that the masked Gaussians show; more than half means the pixel is theirs."""
    return mask_shares(field, mask[:, None], camera, rasterizer=rasterizer)[..., 0]


def mask_shares(
    field: FeatureField, masks: Bool[Tensor, "n s"], camera: Camera, *, rasterizer: Rasterizer
) -> Float[Tensor, "h w s"]:
    """`mask_share` of several selections, drawn at once."""
    return rasterizer.draw(field.splats, masks.to(field.splats.means), camera, RasterConfig()).image


def label_picture(masks: Bool[Tensor, "h w s"], shares: Float[Tensor, "h w s"]) -> Int[Tensor, "h w"]:
    """1 + the selection that a pixel belongs to, the one with the largest share where there are several; 0: none."""
    best = torch.where(masks, shares, -1.0).argmax(-1)
    return torch.where(masks.any(-1), best + 1, 0)


def in_photo(values: Float[Tensor, "h w s"], picture: Picture) -> Float[Tensor, "H W s"]:
    """What the camera's picture shows, in the pixels of the photo file: larger, and bent by its lens.

    Values are sampled bilinearly; 0 where the camera does not see the pixel. Unchanged where photo and picture have
    the same pixels.
    """
    size = (values.shape[1], values.shape[0])
    photo_size = picture.photo_size()
    at = _camera_pixels(picture, photo_size, size)
    if photo_size == size and bool((at - _centres(at)).abs().max() < 1e-3):
        return values
    corner = torch.tensor(size).to(at)
    inside = ((at >= 0) & (at <= corner)).all(-1)
    sampled = grid_sample(
        values.permute(2, 0, 1)[None],
        (2 * at / corner - 1)[None].to(values),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )[0].permute(1, 2, 0)
    return torch.where(inside[..., None].to(values.device), sampled, 0.0)


def _camera_pixels(
    picture: Picture, photo_size: tuple[int, int], size: tuple[int, int]
) -> Float[Tensor, "H W 2"]:
    """Where the camera's picture of `size` shows every pixel centre of the photo file."""
    columns, rows = (np.linspace(0.5, count - 0.5, LENS_KNOTS) for count in photo_size)
    knots = np.array([[picture.photo_to_camera(float(x), float(y)) for x in columns] for y in rows])
    knots = np.clip(knots, -np.array(size), 2 * np.array(size))  # a fisheye's corners may be at infinity
    x, y = (np.arange(count) + 0.5 for count in photo_size)
    found = [RectBivariateSpline(rows, columns, knots[..., axis], kx=1, ky=1)(y, x) for axis in (0, 1)]
    return torch.from_numpy(np.stack(found, axis=-1))


def _centres(at: Float[Tensor, "H W 2"]) -> Float[Tensor, "H W 2"]:
    """Pixel coordinates (x, y) of every pixel's centre."""
    y, x = torch.meshgrid(*(torch.arange(count).to(at) + 0.5 for count in at.shape[:2]), indexing="ij")
    return torch.stack([x, y], dim=-1)
