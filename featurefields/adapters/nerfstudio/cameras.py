"""nerfstudio's cameras and ours.

nerfstudio's have OpenGL axes (x right, y up, z back) and, as ours, pixel centres at +0.5 and cx, cy from the top left
corner. Its distortion is k1 k2 k3 k4 p1 p2.

Letters: v views.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras, CameraType
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import SceneError
from featurefields.lens import Lens
from featurefields.maths.similarity import Similarity

BACK = (1.0, -1.0, -1.0)
"""Signs of the axes between OpenGL and OpenCV."""


def poses_of(cameras: Cameras) -> Float[Tensor, "v 4 4"]:
    """World_from_camera in OpenCV axes, float64.

    Raises:
        SceneError: they are no poses, as of nerfstudio's instant-ngp-data when a split holds one photo.
    """
    given = cameras.camera_to_worlds
    if given.shape[-2:] != (3, 4):
        raise SceneError(
            f"nerfstudio's data parser gives a pose of shape {tuple(given.shape)} instead of (3, 4); where one photo "
            "is held out instant-ngp-data does: hold out more (--eval-mode interval), or use nerfstudio-data"
        )
    flat = given.reshape(-1, 3, 4).double().cpu()
    poses = torch.eye(4, dtype=torch.float64).repeat(len(flat), 1, 1)
    poses[:, :3, :3] = flat[:, :, :3] * torch.tensor(BACK, dtype=torch.float64)
    poses[:, :3, 3] = flat[:, :, 3]
    return poses


def lens_of(cameras: Cameras, index: int) -> Lens:
    """The lens of one of several cameras.

    Raises:
        SceneError: it is neither a perspective nor an ordinary fisheye camera.
    """
    kind = int(cameras.camera_type.reshape(-1)[index])
    size = int(cameras.width.reshape(-1)[index]), int(cameras.height.reshape(-1)[index])
    focal = float(cameras.fx.reshape(-1)[index]), float(cameras.fy.reshape(-1)[index])
    centre = float(cameras.cx.reshape(-1)[index]), float(cameras.cy.reshape(-1)[index])
    bent = cameras.distortion_params
    values = [0.0] * 6 if bent is None else bent.reshape(-1, bent.shape[-1])[index].tolist()
    if kind == CameraType.PERSPECTIVE.value:
        k1, k2, k3, k4, p1, p2 = values[:6]
        return Lens("opencv", size, focal, centre, (k1, k2, p1, p2, k3, k4))
    if kind == CameraType.FISHEYE.value:
        return Lens("fisheye", size, focal, centre, tuple(values[:4]))
    name = CameraType(kind).name.lower()
    raise SceneError(
        f"camera {index} is of nerfstudio's type '{name}', which cannot be undistorted to a pinhole picture; use "
        "photos of perspective or fisheye cameras"
    )


def camera_of(camera: Cameras, world_from_nerfstudio: Similarity) -> Camera:
    """The pinhole camera that nerfstudio asks a picture of (its first, if it is a batch), in the field's world."""
    pose = world_from_nerfstudio.pose(poses_of(camera)[0]).float()
    focal = torch.tensor([float(camera.fx.reshape(-1)[0]), float(camera.fy.reshape(-1)[0])])
    centre = torch.tensor([float(camera.cx.reshape(-1)[0]), float(camera.cy.reshape(-1)[0])])
    return Camera(pose, focal, centre, (int(camera.width.reshape(-1)[0]), int(camera.height.reshape(-1)[0])))


def pinholes(cameras: Sequence[Camera], times: Tensor | None = None) -> Cameras:
    """Cameras of ours, whose world is nerfstudio's, as nerfstudio's."""
    poses = torch.stack([camera.world_from_camera for camera in cameras]).float()
    turned = torch.cat([poses[:, :3, :3] * torch.tensor(BACK), poses[:, :3, 3:]], dim=-1)
    focal = torch.stack([camera.focal_px for camera in cameras]).float()
    centre = torch.stack([camera.centre_px for camera in cameras]).float()
    sizes = torch.tensor([camera.size for camera in cameras])
    return Cameras(
        camera_to_worlds=turned,
        fx=focal[:, :1],
        fy=focal[:, 1:],
        cx=centre[:, :1],
        cy=centre[:, 1:],
        width=sizes[:, :1],
        height=sizes[:, 1:],
        distortion_params=torch.zeros(len(cameras), 6),
        camera_type=CameraType.PERSPECTIVE,
        times=times,
    )
