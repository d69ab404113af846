"""COLMAP models: every camera model against pycolmap's own projection, files binary and text."""

from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch
from tiny_scenes import FLIP, HEIGHT, WIDTH, nerfstudio_json, orbit, photo, write_nerfstudio

from featurefields.errors import SceneError
from featurefields.readers import read_scene
from featurefields.readers.nerfstudio import LEGACY_TRANSFORM

POINTS = np.array([[3.0, -1.0, 2.0], [3.4, -0.8, 2.2], [2.5, -1.3, 1.7], [3.1, -0.2, 2.1]])
COLOURS = np.array([[255, 0, 0], [0, 128, 0], [0, 0, 64], [9, 8, 7]], dtype=np.uint8)
PARAMETERS = {
    "SIMPLE_PINHOLE": [40, 25, 15],
    "PINHOLE": [40, 41, 25, 15],
    "SIMPLE_RADIAL": [40, 25, 15, -0.05],
    "RADIAL": [40, 25, 15, -0.08, 0.02],
    "OPENCV": [40, 41, 25, 15, -0.08, 0.02, 0.002, -0.001],
    "FULL_OPENCV": [40, 41, 25, 15, 0.1, 0.01, 0.002, -0.001, 0.003, 0.12, 0.01, 0.002],
    "OPENCV_FISHEYE": [40, 41, 25, 15, 0.02, -0.01, 0.002, 0.001],
    "SIMPLE_RADIAL_FISHEYE": [40, 25, 15, 0.02],
    "RADIAL_FISHEYE": [40, 25, 15, 0.02, -0.01],
}


def reconstruction(model: str = "PINHOLE", count: int = 4) -> pycolmap.Reconstruction:
    camera = pycolmap.Camera.create_from_model_name(1, model, 40.0, WIDTH, HEIGHT)
    camera.params = np.array(PARAMETERS.get(model, camera.params), dtype=np.float64)
    made = pycolmap.Reconstruction()
    made.add_camera_with_trivial_rig(camera)
    for number, pose in reversed(list(enumerate(orbit(count)))):
        image = pycolmap.Image(name=f"{number:03d}.png", camera_id=1, image_id=number + 1)
        made.add_image_with_trivial_frame(image, pycolmap.Rigid3d(np.linalg.inv(pose @ FLIP)[:3]))
    for point, colour in zip(POINTS, COLOURS, strict=True):
        made.add_point3D(point, pycolmap.Track(), colour)
    return made


def write(made: pycolmap.Reconstruction, folder: Path, place: str = "sparse/0", text: bool = False) -> Path:
    (folder / place).mkdir(parents=True)
    (made.write_text if text else made.write_binary)(str(folder / place))
    for image in made.images.values():
        photo(folder / "images" / image.name)
    return folder


@pytest.mark.parametrize("model", PARAMETERS)
def test_cameras_project_as_pycolmap_does(tmp_path: Path, model: str) -> None:
    made = reconstruction(model)
    scene = read_scene(write(made, tmp_path))
    assert [view.name for view in scene.views] == [f"images/{number:03d}.png" for number in range(4)]
    world = scene.world_from_capture.points(torch.from_numpy(POINTS)).float()
    for number, view in enumerate(scene.views):
        raw = [made.images[number + 1].project_point(point) for point in POINTS]
        seen = np.array([view.picture.photo_to_camera(float(x), float(y)) for x, y in raw])
        assert np.allclose(view.camera.project(world)[0].numpy(), seen, atol=2e-3)
        assert view.picture.image().shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("place", ["sparse/0", "sparse", "colmap/sparse/0", "."])
@pytest.mark.parametrize("text", [False, True])
def test_models_are_found_where_tools_leave_them(tmp_path: Path, place: str, text: bool) -> None:
    scene = read_scene(write(reconstruction(), tmp_path / "s", place, text), normalise=False)
    assert len(scene.views) == 4 and scene.name == "s"
    assert np.allclose(scene.views[2].camera.world_from_camera.numpy(), orbit(4)[2] @ FLIP, atol=1e-5)
    assert scene.points is not None
    order = np.lexsort(scene.points.positions.numpy().T)
    expected = np.lexsort(POINTS.T)
    assert np.allclose(scene.points.positions.numpy()[order], POINTS[expected], atol=1e-6)
    assert np.allclose(scene.points.colours.numpy()[order], COLOURS[expected] / 255, atol=1e-6)


def test_models_of_old_versions_have_no_rigs(tmp_path: Path) -> None:
    write(reconstruction(), tmp_path)
    for table in ("rigs", "frames"):
        (tmp_path / f"sparse/0/{table}.bin").unlink()
    assert len(read_scene(tmp_path).views) == 4


def test_of_several_models_the_largest_is_taken_and_said(tmp_path: Path) -> None:
    write(reconstruction(count=2), tmp_path, "sparse/0")
    write(reconstruction(count=5), tmp_path, "sparse/1")
    scene = read_scene(tmp_path)
    assert len(scene.views) == 5 and len(scene.notes) == 1 and "2 COLMAP models" in scene.notes[0]


def test_missing_photos_masks_and_points(tmp_path: Path) -> None:
    write(reconstruction(), tmp_path)
    (tmp_path / "images/002.png").unlink()
    stripes = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    stripes[::2] = 255
    photo(tmp_path / "masks/001.png.png", stripes)
    scene = read_scene(tmp_path, points=False)
    assert scene.missing == ("002.png",) and len(scene.views) == 3 and scene.points is None
    mask = scene.view("001").picture.mask()
    assert mask is not None and torch.equal(mask, torch.from_numpy(stripes > 0))
    assert scene.view("000").picture.mask() is None
    for view in scene.views:
        view.picture.path.unlink()
    with pytest.raises(SceneError, match=r"of 4 posed in .* none is in .*for example '000\.png'"):
        read_scene(tmp_path)


@pytest.mark.parametrize("model", ["FOV", "THIN_PRISM_FISHEYE"])
def test_other_camera_models_are_refused_by_name(tmp_path: Path, model: str) -> None:
    write(reconstruction(model), tmp_path)
    with pytest.raises(SceneError, match=f"camera model {model} is not supported; undistort"):
        read_scene(tmp_path)


@pytest.mark.parametrize("table", ["cameras", "images", "points3D"])
@pytest.mark.parametrize("keep", ["nothing", "count", "half", "almost"])
def test_cut_off_tables_are_one_line(tmp_path: Path, table: str, keep: str) -> None:
    write(reconstruction(), tmp_path)
    file = tmp_path / f"sparse/0/{table}.bin"
    whole = file.read_bytes()
    file.write_bytes(
        whole[: {"nothing": 0, "count": 6, "half": len(whole) // 2, "almost": len(whole) - 1}[keep]]
    )
    with pytest.raises(SceneError, match=f"{table}.bin is cut off") as caught:
        read_scene(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("table", ["rigs", "frames"])
@pytest.mark.parametrize("kept", [0, 6, 8, 12])
def test_cut_off_rigs_are_one_line(tmp_path: Path, table: str, kept: int) -> None:
    file = write(reconstruction(), tmp_path) / f"sparse/0/{table}.bin"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(SceneError, match=r"cut off|cannot be read") as caught:
        read_scene(tmp_path)
    assert "\n" not in str(caught.value)


def test_broken_text_models_are_one_line(tmp_path: Path) -> None:
    write(reconstruction(), tmp_path, text=True)
    cameras = tmp_path / "sparse/0/cameras.txt"
    cameras.write_text(cameras.read_text().replace("PINHOLE", "PINHOLLOW"))
    with pytest.raises(SceneError, match="cannot be read") as caught:
        read_scene(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("stated", [True, False])
def test_nerfstudio_folders_borrow_the_points_of_their_colmap_model(tmp_path: Path, stated: bool) -> None:
    transform = np.array([[0.0, 0, 1, 0.5], [1, 0, 0, 0], [0, 1, 0, 0]]) if stated else LEGACY_TRANSFORM
    write(reconstruction(), tmp_path, "colmap/sparse/0")
    document = nerfstudio_json(4, applied_transform=transform.tolist() if stated else None)
    scene = read_scene(write_nerfstudio(tmp_path, document), normalise=False)
    assert scene.points is not None
    expected = POINTS @ transform[:, :3].T + transform[:, 3]
    ours = scene.points.positions.numpy()
    assert np.allclose(ours[np.lexsort(ours.T)], expected[np.lexsort(expected.T)], atol=1e-6)
    document["applied_transform"] = [[1, 2], [3, 4]]
    with pytest.raises(SceneError, match="applied_transform is not 3 rows"):
        read_scene(write_nerfstudio(tmp_path, document))
