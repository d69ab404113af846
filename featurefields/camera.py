"""A pinhole camera: OpenCV axes (x right, y down, z forward), pixel centres at +0.5."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Camera:
    """Where a picture was taken and how it projects; no lens distortion.

    Attributes:
        world_from_camera: rigid pose; columns are the camera's x, y, z axes and its centre, in world units.
        focal_px: focal lengths (x, y) in pixels.
        centre_px: principal point (x, y) in pixels; the top left corner of the image is (0, 0).
        size: (width, height) in pixels.
    """

    world_from_camera: Float[Tensor, "4 4"]
    focal_px: Float[Tensor, "2"]
    centre_px: Float[Tensor, "2"]
    size: tuple[int, int]

    @property
    def width(self) -> int:
        return self.size[0]

    @property
    def height(self) -> int:
        return self.size[1]

    @property
    def position(self) -> Float[Tensor, "3"]:
        """Camera centre in world units."""
        return self.world_from_camera[:3, 3]

    @property
    def forward(self) -> Float[Tensor, "3"]:
        """Unit viewing direction in the world."""
        return self.world_from_camera[:3, 2]

    @property
    def camera_from_world(self) -> Float[Tensor, "4 4"]:
        rotation = self.world_from_camera[:3, :3].T
        matrix = torch.eye(4).to(self.world_from_camera)
        matrix[:3, :3] = rotation
        matrix[:3, 3] = -(rotation @ self.position)
        return matrix

    @property
    def intrinsics(self) -> Float[Tensor, "3 3"]:
        """The matrix K of the +0.5 pixel-centre convention."""
        matrix = torch.eye(3).to(self.focal_px)
        matrix[0, 0], matrix[1, 1] = self.focal_px[0], self.focal_px[1]
        matrix[0, 2], matrix[1, 2] = self.centre_px[0], self.centre_px[1]
        return matrix

    def to(self, target: torch.device | torch.dtype | str | Tensor) -> "Camera":
        """The same camera on another device, dtype, or like another tensor."""
        return Camera(
            self.world_from_camera.to(target), self.focal_px.to(target), self.centre_px.to(target), self.size
        )

    def resized(self, size: tuple[int, int]) -> "Camera":
        """The same view sampled with `size` = (width, height) pixels."""
        ratio = torch.tensor([size[0] / self.width, size[1] / self.height]).to(self.focal_px)
        return Camera(self.world_from_camera, self.focal_px * ratio, self.centre_px * ratio, size)

    def pixel_centres(self) -> Float[Tensor, "h w 2"]:
        """Pixel coordinates (x, y) of every pixel's centre."""
        x = torch.arange(self.width).to(self.focal_px) + 0.5
        y = torch.arange(self.height).to(self.focal_px) + 0.5
        return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)

    def directions(self) -> Float[Tensor, "h w 3"]:
        """Unit world directions from the camera through every pixel's centre."""
        xy = (self.pixel_centres() - self.centre_px) / self.focal_px
        local = torch.cat([xy, torch.ones_like(xy[..., :1])], dim=-1)
        world = local @ self.world_from_camera[:3, :3].T
        return torch.nn.functional.normalize(world, dim=-1)

    def project(self, points: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, "n 2"], Float[Tensor, "n"]]:
        """Pixel coordinates and depth along the optical axis of world points (points behind have depth <= 0)."""
        local = (points - self.position) @ self.world_from_camera[:3, :3]
        depth = local[:, 2]
        return local[:, :2] / depth[:, None] * self.focal_px + self.centre_px, depth

    def unproject(self, depth: Float[Tensor, "h w"]) -> Float[Tensor, "h w 3"]:
        """World points at `depth` along the optical axis behind every pixel's centre."""
        xy = (self.pixel_centres() - self.centre_px) / self.focal_px
        local = torch.cat([xy, torch.ones_like(xy[..., :1])], dim=-1) * depth[..., None]
        return local @ self.world_from_camera[:3, :3].T + self.position
