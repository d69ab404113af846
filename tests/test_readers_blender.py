"""The blender scenes of NeRF."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_scenes import FLIP, HEIGHT, WIDTH, orbit, photo

from featurefields.errors import SceneError
from featurefields.readers import read_scene


def write(folder: Path, splits: tuple[str, ...] = ("train", "test", "val")) -> Path:
    pixels = np.full((HEIGHT, WIDTH, 4), 128, dtype=np.uint8)
    pixels[:, : WIDTH // 2, 3] = 0
    for split in splits:
        frames = []
        for number, pose in enumerate(orbit(3)):
            frames.append({"file_path": f"./{split}/r_{number}", "transform_matrix": pose.tolist()})
            photo(folder / split / f"r_{number}.png", pixels)
        document = {"camera_angle_x": 0.7, "frames": frames}
        (folder / f"transforms_{split}.json").write_text(json.dumps(document))
    return folder


def test_cameras_splits_and_alpha(tmp_path: Path) -> None:
    scene = read_scene(write(tmp_path), normalise=False)
    assert [view.name for view in scene.split("train")] == [f"train/r_{number}.png" for number in range(3)]
    assert [view.name for view in scene.split("test")] == [f"test/r_{number}.png" for number in range(3)]
    camera, picture = scene.views[1].camera, scene.views[1].picture
    assert np.allclose(camera.world_from_camera.numpy(), orbit(3)[1] @ FLIP, atol=1e-6)
    assert camera.size == (WIDTH, HEIGHT)
    assert camera.focal_px.tolist() == pytest.approx([WIDTH / 2 / np.tan(0.35)] * 2)
    assert torch.equal(picture.image()[0, 0], torch.ones(3)), "white is content"
    alpha = picture.layer("alpha")
    assert picture.mask() is None and alpha is not None
    assert alpha[0, :, 0].tolist() == pytest.approx([0.0] * 24 + [128 / 255] * 24)


def test_background_shrinking_and_the_json_itself(tmp_path: Path) -> None:
    write(tmp_path)
    scene = read_scene(tmp_path / "transforms_train.json", downscale=2, background=(0.0, 0.0, 0.0))
    assert len(scene.views) == 6 and scene.views[0].picture.image().shape == (HEIGHT // 2, WIDTH // 2, 3)
    assert scene.views[0].picture.image()[0, 0].max() == 0.0


def test_val_stands_in_and_missing_ones_are_listed(tmp_path: Path) -> None:
    write(tmp_path, ("train", "val"))
    (tmp_path / "train/r_0.png").unlink()
    scene = read_scene(tmp_path)
    assert len(scene.split("test")) == 3 and scene.missing == ("./train/r_0",)
    assert len(read_scene(write(tmp_path / "only", ("train",))).split("test")) == 0


def test_a_scene_without_photos_is_one_line(tmp_path: Path) -> None:
    write(tmp_path, ("train",))
    for number in range(3):
        (tmp_path / f"train/r_{number}.png").unlink()
    with pytest.raises(SceneError, match=r"3 listed ones do not exist \(for example './train/r_0'\)"):
        read_scene(tmp_path)
