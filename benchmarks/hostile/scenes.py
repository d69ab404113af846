"""Tiny valid files of every format: what damage begins with."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from featurefields.camera import Camera
from featurefields.field import About, FeatureField
from featurefields.heads import head_from_config
from featurefields.maths.similarity import Similarity
from featurefields.splats import Splats

WIDTH, HEIGHT, VIEWS, SPLATS = 16, 12, 3, 5
POSE = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 4.0], [0.0, 0.0, 0.0, 1.0]]
"""OpenGL axes: looks at the origin from 4 away."""


def tiny_field() -> FeatureField:
    """Five splats with colour and features, and cameras called a and b."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    columns = {"harmonics": normal(SPLATS, 1, 3), "feature": normal(SPLATS, 4)}
    splats = Splats(
        0.3 * normal(SPLATS, 3), normal(SPLATS, 4), normal(SPLATS, 3) - 1, normal(SPLATS), columns
    )
    pose = torch.tensor(POSE) @ torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    size, centre = (WIDTH, HEIGHT), torch.tensor([WIDTH / 2, HEIGHT / 2])
    camera = Camera(pose, torch.tensor([14.0, 14.0]), centre, size)
    about = About(
        scene="tiny",
        data=".",
        world_from_capture=Similarity(1.0, torch.eye(3), torch.zeros(3)),
        cameras={"a": camera, "b": camera},
        extractor="none",
        notes={"steps": 1},
    )
    heads = {
        "rgb": head_from_config("harmonics", {"degree": 0}),
        "feature": head_from_config("direct", {"column": "feature"}),
    }
    return FeatureField(splats, heads, about)


def write_photos(folder: Path) -> None:
    """Three grey photos, images/0.png to images/2.png."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for number in range(VIEWS):
        Image.new("RGB", (WIDTH, HEIGHT), (90, 80, 40 * number)).save(folder / "images" / f"{number}.png")


def transforms(ending: str = ".png") -> bytes:
    """A transforms.json with all that such a file may say."""
    frames = [{"file_path": f"images/{number}{ending}", "transform_matrix": POSE} for number in range(VIEWS)]
    lens = {
        "camera_model": "OPENCV",
        "w": WIDTH,
        "h": HEIGHT,
        "fl_x": 14.0,
        "fl_y": 14.0,
        "cx": 8.0,
        "cy": 6.0,
    }
    more = {"k1": 0.01, "k2": 0.0, "camera_angle_x": 0.9, "applied_scale": 1.0, "applied_transform": POSE[:3]}
    names = {
        "ply_file_path": "points.ply",
        "train_filenames": ["images/0.png"],
        "test_filenames": ["images/1.png"],
    }
    return json.dumps({**lens, **more, **names, "frames": frames}).encode()


def points() -> bytes:
    """A text PLY of points with colours."""
    head = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    colours = "property uchar red\nproperty uchar green\nproperty uchar blue\nend_header\n"
    return (head + colours + "0 0 0 255 0 0\n0.5 0 0 0 255 0\n0 0.5 0.1 0 0 255\n").encode()


def write_colmap(folder: Path, *, text: bool) -> None:
    """A model of three photos and three points in sparse/0."""
    import pycolmap

    camera = pycolmap.Camera.create_from_model_name(1, "OPENCV", 14.0, WIDTH, HEIGHT)
    made = pycolmap.Reconstruction()
    made.add_camera_with_trivial_rig(camera)
    for number in range(VIEWS):
        image = pycolmap.Image(
            name=f"{number}.png",
            camera_id=1,
            image_id=number + 1,
            points2D=pycolmap.Point2DList([pycolmap.Point2D(np.array([3.0, number]))] * 2),
        )
        made.add_image_with_trivial_frame(image, pycolmap.Rigid3d(np.array(POSE)[:3] * [[1], [1], [-1]]))
    for x in (0.0, 0.2, 0.4):
        track = pycolmap.Track([pycolmap.TrackElement(1, 0)]) if x == 0 else pycolmap.Track()
        made.add_point3D(np.array([x, 0.1, 0.0]), track, np.array([9, 8, 7], dtype=np.uint8))
    place = folder / "sparse" / "0"
    place.mkdir(parents=True, exist_ok=True)
    (made.write_text if text else made.write_binary)(str(place))
