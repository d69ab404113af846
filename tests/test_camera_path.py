"""Camera paths: our keyframes, nerfstudio's files, and what is refused."""

import json
import math
from pathlib import Path

import pytest
import torch
from tiny_fields import ring
from tiny_scenes import FLIP

from featurefields.camera import Camera
from featurefields.errors import FileFormatError, UnknownNameError
from featurefields.files.camera_path import CameraPath, read_camera_path, read_nerfstudio_transform

VIEWS = {f"images/{number:03d}.png": camera for number, camera in enumerate(ring(6))}


def read(folder: Path, views: dict[str, Camera] = VIEWS, **document: object) -> CameraPath:
    path = folder / "path.json"
    path.write_text(json.dumps(document))
    return read_camera_path(path, views)


def opengl(camera: Camera) -> torch.Tensor:
    return camera.world_from_camera.double() @ torch.from_numpy(FLIP).double()


class TestKeyframes:
    def test_views_are_flown_through_at_their_times(self, tmp_path: Path):
        names = ["000", "images/002.png", "001.png"]
        path = read(
            tmp_path,
            fps=10,
            keyframes=[{"view": names[0]}, {"view": names[1], "seconds": 1}, {"view": names[2]}],
        )
        assert path.fps == 10 and len(path.cameras) == 31
        for frame, number in ((0, 0), (10, 2), (30, 1)):
            expected = VIEWS[f"images/{number:03d}.png"]
            assert torch.allclose(
                path.cameras[frame].world_from_camera, expected.world_from_camera, atol=1e-5
            )
            assert torch.allclose(path.cameras[frame].focal_px, expected.focal_px, atol=1e-3)
            assert path.cameras[frame].size == expected.size

    def test_a_closed_path_takes_the_time_of_the_first_and_does_not_repeat_it(self, tmp_path: Path):
        frames = [{"view": "000", "seconds": 0.5}, {"view": "001"}, {"view": "002"}]
        path = read(tmp_path, fps=10, closed=True, default_transition_sec=1, keyframes=frames)
        assert len(path.cameras) == 25
        assert torch.allclose(path.cameras[20].position, VIEWS["images/002.png"].position, atol=1e-5)
        assert not torch.allclose(path.cameras[24].position, path.cameras[0].position, atol=1e-2)

    def test_a_pose_in_opengl_axes_by_rows_columns_or_nested(self, tmp_path: Path):
        camera = VIEWS["images/003.png"]
        pose = opengl(camera)
        ways = [pose.flatten().tolist(), pose.tolist(), pose[:3].tolist(), pose.T.flatten().tolist()]
        frames = [{"camera_to_world": way} for way in ways[:3]] + [{"matrix": ways[3]}]
        path = read(tmp_path, default_transition_sec=0, keyframes=frames)
        assert len(path.cameras) == 4
        for found in path.cameras:
            assert torch.allclose(found.world_from_camera, camera.world_from_camera, atol=1e-5)

    def test_looking_at_a_point(self, tmp_path: Path):
        frame = {"position": [2, 1, 1], "look_at": [0.5, 0, 0], "fov": 40}
        (camera,) = read(tmp_path, size=[200, 100], keyframes=[frame]).cameras
        pixel, depth = camera.project(torch.tensor([[0.5, 0.0, 0.0]]))
        assert torch.allclose(pixel[0], torch.tensor([100.0, 50.0]), atol=1e-3) and depth > 0
        assert camera.focal_px[1].item() == pytest.approx(50 / math.tan(math.radians(20)))
        assert -camera.world_from_camera[2, 1] > 0.5
        (turned,) = read(tmp_path, up=[0, 1, 0], keyframes=[frame]).cameras
        assert -turned.world_from_camera[1, 1] > 0.5

    def test_without_views_it_needs_to_say_more(self, tmp_path: Path):
        frame = {"position": [2, 1, 1], "look_at": [0, 0, 0]}
        (camera,) = read(tmp_path, {}, up=[0, 0, 1], keyframes=[frame]).cameras
        assert camera.size == (640, 480)
        with pytest.raises(FileFormatError, match="up"):
            read(tmp_path, {}, keyframes=[frame])


class TestNerfstudio:
    def test_every_frame_is_taken_as_it_is(self, tmp_path: Path):
        cameras = list(VIEWS.values())[:3]
        frames = [
            {"camera_to_world": opengl(each).flatten().tolist(), "fov": 60, "aspect": 1.5} for each in cameras
        ]
        keyframes = [{"matrix": opengl(cameras[0]).flatten().tolist(), "override_transition_sec": None}]
        path = read(
            tmp_path, camera_type="perspective", render_height=100, render_width=150, fps=24, seconds=4,
            is_cycle=False, smoothness_value=0.5, camera_path=frames, keyframes=keyframes,
        )  # fmt: skip
        assert path.fps == 24 and len(path.cameras) == 3
        for found, camera in zip(path.cameras, cameras, strict=True):
            assert torch.allclose(found.world_from_camera, camera.world_from_camera, atol=1e-5)
            assert found.size == (150, 100)
            assert found.focal_px.tolist() == pytest.approx([50 / math.tan(math.radians(30))] * 2)

    def test_its_own_transitions(self, tmp_path: Path):
        pose = [opengl(each).flatten().tolist() for each in list(VIEWS.values())[:3]]
        frames = [
            {"matrix": pose[0], "override_transition_enabled": False, "override_transition_sec": 9},
            {"matrix": pose[1], "override_transition_enabled": True, "override_transition_sec": 0.5},
            {"matrix": pose[2], "override_transition_enabled": False, "override_transition_sec": None},
        ]
        path = read(tmp_path, fps=10, default_transition_sec=1.0, keyframes=frames)
        assert len(path.cameras) == 16
        assert torch.allclose(path.cameras[5].position, VIEWS["images/001.png"].position, atol=1e-5)

    def test_its_frame(self, tmp_path: Path):
        """What nerfstudio does: p' = scale (T p), T after the transform that the photos' file has gone through."""
        turn = torch.tensor([[0.0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]).double()
        applied = torch.tensor([[0.0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0.5], [0, 0, 0, 1]]).double()
        (tmp_path / "t.json").write_text(
            json.dumps({"transform": (turn @ applied)[:3].tolist(), "scale": 0.5})
        )
        (tmp_path / "s.json").write_text(json.dumps({"applied_transform": applied[:3].tolist()}))
        point = torch.tensor([0.3, -0.2, 0.9]).double()
        expected = 0.5 * (turn[:3, :3] @ point + turn[:3, 3])
        found = read_nerfstudio_transform(tmp_path / "t.json", tmp_path / "s.json").points(point)
        assert torch.allclose(found, expected)
        without = read_nerfstudio_transform(tmp_path / "t.json").points(point)
        original = torch.linalg.inv(applied) @ torch.cat([point, torch.ones(1).double()])
        assert torch.allclose(read_nerfstudio_transform(tmp_path / "t.json").points(original[:3]), expected)
        assert not torch.allclose(without, expected, atol=1e-2)


POSE = torch.eye(4).flatten().tolist()
REFUSED = {
    "neither a list": {},
    "at least one camera": {"keyframes": []},
    "without 'view'": {"keyframes": [{"fov": 30}]},
    "of type 'fisheye'": {"camera_type": "fisheye", "keyframes": [{"view": "000"}]},
    "0.1 to 1000": {"fps": 0, "keyframes": [{"view": "000"}]},
    "'fov'": {"keyframes": [{"view": "000", "fov": 180}]},
    "'size'": {"size": [3], "keyframes": [{"view": "000"}]},
    "of 15 numbers": {"keyframes": [{"matrix": POSE[:15]}]},
    "no matrix of numbers": {"keyframes": [{"matrix": ["a"] * 16}]},
    "not a rotation": {"keyframes": [{"matrix": [0] * 15 + [1]}]},
    "not a rotation and": {"keyframes": [{"matrix": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1]}]},
    "where it stands": {"keyframes": [{"position": [1, 1, 1], "look_at": [1, 1, 1]}]},
    "three numbers": {"keyframes": [{"position": [1, 1], "look_at": [1, 1, 1]}]},
    "more than 100000": {"fps": 1000, "keyframes": [{"view": "000"}, {"view": "001", "seconds": 3000}]},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_makes_no_sense_is_told(tmp_path: Path, message: str):
    with pytest.raises(FileFormatError, match=message) as caught:
        read(tmp_path, **REFUSED[message])
    assert "path.json" in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path: Path):
    with pytest.raises(FileFormatError, match="cannot read"):
        read_camera_path(tmp_path / "none.json", VIEWS)
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(FileFormatError, match="no JSON"):
        read_camera_path(tmp_path / "a.json", VIEWS)
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(FileFormatError, match="list"):
        read_camera_path(tmp_path / "a.json", VIEWS)
    (tmp_path / "a.json").write_text('{"transform": [[1, 2], [3, 4]], "scale": 1}')
    with pytest.raises(FileFormatError, match="'transform'"):
        read_nerfstudio_transform(tmp_path / "a.json")


def test_unknown_views_are_told(tmp_path: Path):
    with pytest.raises(UnknownNameError, match=r"'042'.*000\.png"):
        read(tmp_path, keyframes=[{"view": "042"}])
    with pytest.raises(UnknownNameError, match="remembers none"):
        read(tmp_path, {}, keyframes=[{"view": "000"}])
