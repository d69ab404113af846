"""Whatever is wrong with a scene is told in one line that names the frame or file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_scenes import nerfstudio_json, photo, write_nerfstudio

from featurefields.errors import SceneError
from featurefields.readers import read_scene

Change = Callable[[dict[str, Any]], object]


def pose(document: dict[str, Any]) -> list[list[float]]:
    return document["frames"][1]["transform_matrix"]


def turned(matrix: np.ndarray) -> Change:
    """A change that multiplies the axes of frame 1 by `matrix`."""

    def change(document: dict[str, Any]) -> None:
        rows = np.array(pose(document))
        rows[:3, :3] = rows[:3, :3] @ matrix
        document["frames"][1]["transform_matrix"] = rows.tolist()

    return change


CASES: dict[str, tuple[Change, str]] = {
    "nan": (lambda d: pose(d)[0].__setitem__(3, float("nan")), r"frame 1 .*001\.png.*NaN or infinite"),
    "inf": (lambda d: pose(d)[1].__setitem__(0, float("inf")), r"frame 1 .*NaN or infinite"),
    "scaled": (turned(np.eye(3) * 1.1), r"frame 1 .*not rigid.*lengths 1\.1 1\.1 1\.1"),
    "sheared": (turned(np.array([[1, 0.1, 0], [0, 1, 0], [0, 0, 1]])), "frame 1 .*not rigid"),
    "mirrored": (turned(np.diag([-1.0, 1, 1])), "frame 1 .*mirrored"),
    "last row": (lambda d: pose(d)[3].__setitem__(0, 0.5), "frame 1 .*last row"),
    "ragged pose": (lambda d: pose(d)[0].pop(), "frame 1 .*4 rows of 4 numbers"),
    "pose of text": (lambda d: pose(d).__setitem__(0, ["a", "b", "c", "d"]), "frame 1 .*4 rows of 4 numbers"),
    "huge pose": (lambda d: pose(d)[0].__setitem__(0, 10**400), "not valid JSON .a whole number of 401 digits"),
    "huge axes": (lambda d: pose(d).__setitem__(0, [1e200, -1e200, 1e200, 0]), "frame 1 .*not rigid"),
    "no pose": (lambda d: d["frames"][1].pop("transform_matrix"), "frame 1 .*4 rows of 4 numbers"),
    "no file": (lambda d: d["frames"][1].pop("file_path"), "frame 1 .*file_path is missing"),
    "file number": (lambda d: d["frames"][1].__setitem__("file_path", 7), "frame 1 .*file_path is 7"),
    "twice": (lambda d: d["frames"].append(d["frames"][1]), "lists photo 'images/001.png' 2 times"),
    "frames": (lambda d: d.__setitem__("frames", {"a": 1}), "'frames' is .*not a list"),
    "no frames": (lambda d: d.pop("frames"), "'frames' is missing, not a list"),
    "empty": (lambda d: d["frames"].clear(), "lists no frames"),
    "frame type": (lambda d: d["frames"].__setitem__(1, "x"), r"frames\[1\] is \"x\", not an object"),
    "focal text": (lambda d: d.__setitem__("fl_x", "400"), 'frame 0 .*fl_x is "400", not a finite number'),
    "focal true": (lambda d: d.__setitem__("fl_x", True), "fl_x is true, not a finite number"),
    "focal 0": (lambda d: d.__setitem__("fl_x", 0), "fl_x is 0, not a positive length"),
    "focal huge": (lambda d: d.__setitem__("fl_x", 10**400), "not valid JSON .a whole number of 401 digits"),
    "no focal": (lambda d: (d.pop("fl_x"), d.pop("fl_y")), "neither fl_x nor camera_angle_x"),
    "angle": (lambda d: (d.pop("fl_x"), d.__setitem__("camera_angle_x", 4)), "camera_angle_x is 4, not an angle"),
    "nan k1": (lambda d: d.__setitem__("k1", float("nan")), "k1 is NaN, not a finite number"),
    "size": (lambda d: d.__setitem__("w", 48.5), "w, h are 48.5, 32, not a size in whole pixels"),
    "model": (lambda d: d.__setitem__("camera_model", "EQUIRECTANGULAR"), "'EQUIRECTANGULAR' is not supported; use"),
    "folds": (lambda d: d.__setitem__("k1", -9.0), r"photo images/000\.png: lens 'opencv'.*fold"),
    "mask": (lambda d: d["frames"][1].__setitem__("mask_path", "m.png"), r"frame 1 .*mask_path 'm\.png' does not"),
    "unit": (lambda d: d.__setitem__("depth_unit_scale_factor", -1), "depth_unit_scale_factor is -1"),
    "lists": (lambda d: d.__setitem__("train_filenames", "all"), "train_filenames is \"all\", not a list"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_wrong_documents_are_one_line(tmp_path: Path, case: str) -> None:
    change, message = CASES[case]
    document = nerfstudio_json(3)
    for number in range(3):
        photo(tmp_path / f"images/{number:03d}.png")
    write_nerfstudio(tmp_path, document, photos=False)
    assert len(read_scene(tmp_path).views) == 3, "unchanged, it is readable"
    change(document)
    write_nerfstudio(tmp_path, document, photos=False)
    with pytest.raises(SceneError, match=message) as caught:
        read_scene(tmp_path)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 500 and (";" in text or "?" in text)


@pytest.mark.parametrize("noise", [1e-6, 2e-3])
def test_rounding_in_poses_is_removed(tmp_path: Path, noise: float) -> None:
    document = nerfstudio_json(3)
    turned(np.eye(3) + noise * np.random.default_rng(0).uniform(-1, 1, (3, 3)))(document)
    scene = read_scene(write_nerfstudio(tmp_path, document))
    rotation = scene.views[1].camera.world_from_camera[:3, :3].double()
    assert np.allclose((rotation.T @ rotation).numpy(), np.eye(3), atol=1e-6)


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"\xff\xfe\x00", b'{"frames": [}'])
def test_what_is_no_json_object_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "transforms.json").write_bytes(content)
    with pytest.raises(SceneError, match=r"transforms\.json (is not valid JSON|holds)") as caught:
        read_scene(tmp_path)
    assert "\n" not in str(caught.value)


def test_no_photo_left(tmp_path: Path) -> None:
    write_nerfstudio(tmp_path, nerfstudio_json(3), photos=False)
    with pytest.raises(
        SceneError, match=r"of 3 that .* lists, 3 do not exist \(for example 'images/000\.png'\)"
    ):
        read_scene(tmp_path)


def test_folders_that_hold_no_scene(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"nowhere does not exist; check the path"):
        read_scene(tmp_path / "nowhere")
    with pytest.raises(SceneError, match=r"looked for transforms\.json.*found nothing"):
        read_scene(tmp_path)
    photo(tmp_path / "holiday.png")
    with pytest.raises(SceneError, match=r"found holiday\.png; give the folder"):
        read_scene(tmp_path)
    with pytest.raises(SceneError, match="is a file, but not a JSON file"):
        read_scene(tmp_path / "holiday.png")
    with pytest.raises(SceneError, match=r"transforms\.json cannot be read: No such file"):
        read_scene(tmp_path, kind="nerfstudio")
    with pytest.raises(SceneError, match="no COLMAP model"):
        read_scene(tmp_path, kind="colmap")
