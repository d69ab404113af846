"""ScanNet++ on tiny fakes of its three layouts."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_scenes import HEIGHT, WIDTH, orbit, photo

from featurefields.errors import SceneError
from featurefields.readers import read_scene

FORMS = {
    "released": ("dslr/nerfstudio/transforms.json", "dslr/resized_images", "dslr/render_depth"),
    "undistorted": (
        "dslr/nerfstudio/transforms_undistorted.json",
        "dslr/resized_undistorted_images",
        "dslr/undistorted_render_depth",
    ),
    "toolkit": ("nerfstudio/transforms.json", "images", "render_depth"),
}


def write(folder: Path, form: str, **changes: object) -> Path:
    """Three frames for training and one held out, with one depth map and one mask."""
    poses, photos, depths = FORMS[form]
    names = [f"DSC{number:05d}.JPG" for number in range(4)]
    frames = [
        {"file_path": name, "transform_matrix": pose.tolist(), "is_bad": False}
        for name, pose in zip(names, orbit(4), strict=True)
    ]
    lens = {"w": WIDTH, "h": HEIGHT, "fl_x": 40.0, "fl_y": 40.0, "cx": 24.0, "cy": 16.0}
    lens |= (
        {"camera_model": "OPENCV_FISHEYE", "k1": 0.02} if form == "released" else {"camera_model": "PINHOLE"}
    )
    document = lens | {"frames": frames[:3], "test_frames": frames[3:]} | changes
    for name in names:
        photo(folder / photos / name)
    (folder / depths).mkdir(parents=True)
    depth = np.full((HEIGHT, WIDTH), 1500, dtype=np.uint16)
    Image.fromarray(depth).save(folder / depths / "DSC00000.png")
    (folder / poses).parent.mkdir(parents=True, exist_ok=True)
    (folder / poses).write_text(json.dumps(document))
    return folder


@pytest.mark.parametrize("form", FORMS)
def test_frames_splits_and_depths(tmp_path, form):
    scene = read_scene(write(tmp_path / "abc", form), normalise=False)
    assert [view.split for view in scene.views] == ["train"] * 3 + ["test"]
    assert scene.views[0].name == "DSC00000.JPG"
    depth = scene.views[0].picture.depth()
    assert depth is not None and torch.allclose(depth, torch.tensor(1.5))
    assert scene.views[1].picture.depth() is None
    expected = torch.tensor(orbit(4)[0][:3, 3], dtype=torch.float32)
    torch.testing.assert_close(scene.views[0].camera.position, expected)
    assert scene.views[0].picture.image().shape[-1] == 3


def test_undistorted_wins_over_released(tmp_path):
    write(tmp_path, "released")
    write(tmp_path, "undistorted")
    camera = read_scene(tmp_path, normalise=False).views[0].camera
    assert camera.size == (WIDTH, HEIGHT) and camera.focal_px.tolist() == [40.0, 40.0]


def test_bad_and_missing_photos_are_told(tmp_path):
    folder = write(tmp_path, "released")
    file = folder / FORMS["released"][0]
    document = json.loads(file.read_text())
    document["frames"][0]["is_bad"] = True
    file.write_text(json.dumps(document))
    (folder / "dslr" / "resized_images" / "DSC00001.JPG").unlink()
    scene = read_scene(folder)
    assert len(scene.views) == 2 and scene.missing == ("DSC00001.JPG",)
    assert any("1 photos are marked as bad" in note for note in scene.notes)


def test_nothing_left_and_no_scene_are_told(tmp_path):
    folder = write(tmp_path / "a", "toolkit")
    for path in (folder / "images").iterdir():
        path.unlink()
    with pytest.raises(SceneError, match="no usable photo"):
        read_scene(folder)
    (tmp_path / "b").mkdir()
    with pytest.raises(SceneError, match=r"no scene of ScanNet\+\+"):
        read_scene(tmp_path / "b", kind="scannetpp")
