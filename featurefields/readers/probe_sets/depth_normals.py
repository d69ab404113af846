"""Normals of the surface that a depth map describes.

Letters: h w pixels.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

JUMP = 0.05
"""Neighbours whose depths differ by more than this share of the nearer one are taken for different surfaces."""


def normals_of_depth(
    depth: Float[Tensor, "h w"], focal_px: Float[Tensor, "2"], centre_px: Float[Tensor, "2"]
) -> Float[Tensor, "h w 3"]:
    """Unit normals towards the camera, in its frame; zero at borders, at jumps and beside unknown depth.

    The cross product of the differences between the two neighbours along each axis.
    """
    height, width = depth.shape
    normals = depth.new_zeros(height, width, 3)
    if min(height, width) < 3:
        return normals
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    rays = torch.stack(
        [(x - centre_px[0]) / focal_px[0], (y - centre_px[1]) / focal_px[1], torch.ones_like(x)], -1
    )
    points = rays.to(depth) * depth[..., None]
    across, down = points[1:-1, 2:] - points[1:-1, :-2], points[2:, 1:-1] - points[:-2, 1:-1]
    around = torch.stack(
        [depth[1:-1, :-2], depth[1:-1, 2:], depth[:-2, 1:-1], depth[2:, 1:-1], depth[1:-1, 1:-1]]
    )
    near, far = around.amin(0), around.amax(0)
    smooth = (near > 0) & (far <= (1 + JUMP) * near)
    inner = normalize(torch.linalg.cross(down, across), dim=-1)
    normals[1:-1, 1:-1] = torch.where(smooth[..., None], inner, 0.0)
    return normals
