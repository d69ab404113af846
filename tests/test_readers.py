"""nerfstudio folders: conventions, splits, companions, sizes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_scenes import FLIP, HEIGHT, WIDTH, nerfstudio_json, orbit, photo, write_nerfstudio, write_ply

import featurefields
from featurefields.errors import SceneError, UnknownNameError
from featurefields.images import read_image
from featurefields.readers import read_scene
from featurefields.scene import Scene

POINTS = np.array([[3.0, -1.0, 2.0], [3.4, -0.8, 2.2], [2.5, -1.3, 1.7], [3.1, -0.2, 2.1]])


def by_hand(document: dict[str, Any], frame: dict[str, Any], points: np.ndarray) -> np.ndarray:
    """Pixels of capture points, straight from the definition of transforms.json (x right, y up, z backward)."""
    values = document | frame
    local = np.linalg.solve(np.array(values["transform_matrix"]), np.c_[points, np.ones(len(points))].T).T
    x, y = local[:, 0] / -local[:, 2], local[:, 1] / -local[:, 2]
    return np.stack([values["cx"] + values["fl_x"] * x, values["cy"] - values["fl_y"] * y], axis=-1)


def projected(scene: Scene, index: int, points: np.ndarray) -> np.ndarray:
    world = scene.world_from_capture.points(torch.from_numpy(points)).float()
    pixels, depth = scene.views[index].camera.project(world)
    assert (depth > 0).all()
    return pixels.numpy()


@pytest.mark.parametrize("normalise", [False, True])
def test_cameras_project_as_the_json_says(tmp_path: Path, normalise: bool) -> None:
    document = nerfstudio_json()
    document["frames"][2] |= {"fl_x": 33.0, "cy": 18.0}  # per frame values win
    scene = read_scene(write_nerfstudio(tmp_path / "orbit", document), normalise=normalise)
    assert scene.name == "orbit" and scene.views[0].name == "images/000.png"
    for index, frame in enumerate(document["frames"]):
        assert np.allclose(projected(scene, index, POINTS), by_hand(document, frame, POINTS), atol=1e-3)
    assert not np.allclose(
        projected(scene, 0, POINTS), by_hand(document, document["frames"][1], POINTS), atol=1
    )


def test_normalised_world_has_its_focus_at_the_origin_and_unit_distance(tmp_path: Path) -> None:
    scene = read_scene(write_nerfstudio(tmp_path))
    positions = torch.stack([view.camera.position for view in scene.views])
    assert scene.world_from_capture.scale == pytest.approx(1 / 4)
    assert torch.allclose(positions.norm(dim=-1), torch.ones(5), atol=1e-5)
    focus = scene.world_from_capture.points(torch.tensor([[3.0, -1.0, 2.0]]))
    assert focus.abs().max() < 1e-5
    assert scene.up is not None and torch.allclose(scene.up, torch.tensor([0.0, 0.0, 1.0]), atol=1e-5)


def test_without_normalisation_poses_stay(tmp_path: Path) -> None:
    scene = read_scene(write_nerfstudio(tmp_path), normalise=False)
    for view, pose in zip(scene.views, orbit(5), strict=True):
        assert np.allclose(view.camera.world_from_camera.numpy(), pose @ FLIP, atol=1e-6)
    assert scene.world_from_capture.scale == 1.0


@pytest.mark.parametrize("downscale", [1.0, 1.5, 2.0, 7.0])
def test_downscaling_keeps_directions(tmp_path: Path, downscale: float) -> None:
    write_nerfstudio(tmp_path, nerfstudio_json(1))
    full = read_scene(tmp_path).views[0].camera
    view = read_scene(tmp_path, downscale=downscale).views[0]
    assert view.camera.size == (round(WIDTH / downscale), round(HEIGHT / downscale))
    assert view.picture.image().shape == (view.camera.height, view.camera.width, 3)
    back = view.camera.resized(full.size)
    assert torch.allclose(back.focal_px, full.focal_px) and torch.allclose(back.centre_px, full.centre_px)
    assert torch.allclose(back.directions(), full.directions(), atol=1e-6)


def test_downscaled_pictures_are_area_means(tmp_path: Path) -> None:
    write_nerfstudio(tmp_path, nerfstudio_json(1), photos=False)
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    photo(tmp_path / "images/000.png", noise)
    picture = read_scene(tmp_path, downscale=4).views[0].picture
    means = torch.from_numpy(noise).float().reshape(8, 4, 12, 4, 3).mean((1, 3)) / 255
    assert torch.allclose(picture.image(), means, atol=1e-5)


LENSES = {
    "pinhole": {},
    "opencv": {"k1": -0.2, "k2": 0.05, "p1": 0.003, "p2": -0.002},
    "rational": {"camera_model": "FULL_OPENCV", "k1": 0.1, "k4": 0.15, "k5": 0.02},
    "fisheye": {"camera_model": "OPENCV_FISHEYE", "k1": 0.02, "k2": -0.01, "k3": 0.001, "k4": 0.0},
}


@pytest.mark.parametrize("downscale", [1, 2])
@pytest.mark.parametrize("lens", LENSES)
def test_dots_in_the_raw_photo_land_where_photo_to_camera_says(
    tmp_path: Path, lens: str, downscale: int
) -> None:
    """Law of the whole path: raw pixel → picture pixel, for colours, masks, ids and depth alike."""
    big = {"w": 192, "h": 128, "fl_x": 160.0, "fl_y": 162.0, "cx": 100.0, "cy": 61.0}
    document = nerfstudio_json(1, **(big | LENSES[lens]), depth_unit_scale_factor=0.01)
    document["frames"][0] |= {
        "instance_file_path": "ids.png", "mask_path": "mask.png", "depth_file_path": "depth.png",
        "roughness_file_path": "ids.png",
    }  # fmt: skip
    write_nerfstudio(tmp_path, document, photos=False)
    spots = [(60, 40), (150, 44), (96, 90), (40, 96)]
    pixels, ids = np.zeros((128, 192, 3), dtype=np.uint8), np.zeros((128, 192), dtype=np.uint8)
    for number, (x, y) in enumerate(spots):
        pixels[y - 3 : y + 3, x - 3 : x + 3] = 255
        ids[y - 3 : y + 3, x - 3 : x + 3] = number + 1
    photo(tmp_path / "images/000.png", pixels)
    photo(tmp_path / "ids.png", ids)
    photo(tmp_path / "mask.png", (ids > 0).astype(np.uint8))
    photo(tmp_path / "depth.png", ids.astype(np.uint16) * 100)
    scene = read_scene(tmp_path, downscale=downscale)
    picture, unit = scene.views[0].picture, scene.world_from_capture.scale
    image, found = picture.image()[..., 0], picture.layer("instance")
    assert found is not None and picture.photo_size() == (192, 128)
    y, x = torch.meshgrid(
        torch.arange(image.shape[0]) + 0.5, torch.arange(image.shape[1]) + 0.5, indexing="ij"
    )
    for number, (raw_x, raw_y) in enumerate(spots):
        at_x, at_y = picture.photo_to_camera(raw_x, raw_y)
        near = ((x - at_x) ** 2 + (y - at_y) ** 2 < (9 / downscale) ** 2) * image
        assert (near * x).sum() / near.sum() == pytest.approx(at_x, abs=0.06)
        assert (near * y).sum() / near.sum() == pytest.approx(at_y, abs=0.06)
        assert found[int(at_y), int(at_x), 0] == number + 1
        mask, depth = picture.mask(), picture.depth()
        assert mask is not None and bool(mask[int(at_y), int(at_x)])
        assert depth is not None and depth[int(at_y), int(at_x)] == pytest.approx(
            unit * (number + 1), rel=1e-5
        )
    assert set(found.unique().tolist()) == {0.0, 1.0, 2.0, 3.0, 4.0}, "ids are never mixed"
    assert torch.equal(picture.mask(), found[..., 0] > 0)
    assert torch.equal(picture.depth() > 0, found[..., 0] > 0)
    rough = picture.layer("roughness")
    assert rough is not None and rough.shape == found.shape and rough.max() <= 1
    assert picture.layer("normal") is None and picture.layer("anything") is None


@pytest.mark.parametrize("lens", ["opencv", "rational", "fisheye"])
def test_distorted_projection_by_opencv_meets_the_undistorted_camera(tmp_path: Path, lens: str) -> None:
    """OpenCV projects a capture point into the raw photo; the view's camera projects it into the picture."""
    import cv2

    document = nerfstudio_json(3, **LENSES[lens])
    scene = read_scene(write_nerfstudio(tmp_path, document))
    matrix = np.array([[40.0, 0, 25.0 - 0.5], [0, 41.0, 15.0 - 0.5], [0, 0, 1]])
    for index, pose in enumerate(orbit(3)):
        local = (np.linalg.inv(pose @ FLIP) @ np.c_[POINTS, np.ones(4)].T).T[:, None, :3]
        keys = (
            ("k1", "k2", "k3", "k4")
            if lens == "fisheye"
            else ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
        )
        coefficients = np.array([float(LENSES[lens].get(key, 0.0)) for key in keys])
        project = cv2.fisheye.projectPoints if lens == "fisheye" else cv2.projectPoints
        raw = project(local, np.zeros(3), np.zeros(3), matrix, coefficients)[0].reshape(-1, 2) + 0.5
        seen = [scene.views[index].picture.photo_to_camera(x, y) for x, y in raw.tolist()]
        assert np.allclose(np.array(seen), projected(scene, index, POINTS), atol=1e-3)
        assert not np.allclose(raw, projected(scene, index, POINTS), atol=0.05), "the lens does bend"


def test_missing_photos_are_skipped_and_listed(tmp_path: Path) -> None:
    write_nerfstudio(tmp_path)
    for number in (1, 3):
        (tmp_path / f"images/{number:03d}.png").unlink()
    scene = read_scene(tmp_path)
    assert scene.missing == ("images/001.png", "images/003.png")
    assert [view.name for view in scene.views] == ["images/000.png", "images/002.png", "images/004.png"]


@pytest.mark.parametrize(
    "written", ["images/000", "./images/000.png", "images\\000.png", "../here/images/000.png"]
)
def test_file_paths_as_people_write_them(tmp_path: Path, written: str) -> None:
    document = nerfstudio_json(1)
    photo(tmp_path / "here/images/000.png")
    document["frames"][0]["file_path"] = written
    scene = read_scene(write_nerfstudio(tmp_path / "here", document, photos=False))
    assert scene.views[0].name.endswith("images/000.png") and not scene.missing
    assert scene.view("000") is scene.views[0]


def test_a_json_path_names_the_scene_too(tmp_path: Path) -> None:
    write_nerfstudio(tmp_path / "orbit")
    scene = read_scene(tmp_path / "orbit" / "transforms.json")
    assert scene.name == "orbit" and len(scene.views) == 5 and scene.folder == tmp_path / "orbit"
    assert featurefields.read_scene is read_scene


NAMES = [f"images/{number:03d}.png" for number in range(5)]


@pytest.mark.parametrize(
    ("lists", "expected", "notes"),
    [
        ({}, "T....", 0),
        ({"train_filenames": NAMES[:3], "test_filenames": NAMES[3:]}, "...TT", 0),
        ({"train_filenames": NAMES[:3], "val_filenames": NAMES[3:]}, "...TT", 0),
        ({"train_filenames": NAMES[:3]}, "...TT", 0),
        ({"test_filenames": ["./images/001.png"]}, ".T...", 0),
        ({"train_filenames": NAMES[:2], "val_filenames": NAMES[3:4], "test_filenames": NAMES[4:]}, "..T", 1),
        ({"train_filenames": NAMES, "test_filenames": NAMES[:1]}, "T....", 0),
    ],
)
def test_splits(tmp_path: Path, lists: dict[str, Any], expected: str, notes: int) -> None:
    scene = read_scene(write_nerfstudio(tmp_path, nerfstudio_json(**lists)))
    assert "".join("T" if view.split == "test" else "." for view in scene.views) == expected
    assert len(scene.notes) == notes


def test_holdout_counts_from_the_first_view(tmp_path: Path) -> None:
    write_nerfstudio(tmp_path)
    assert [view.split for view in read_scene(tmp_path, holdout=2).views] == ["test", "train"] * 2 + ["test"]
    assert not read_scene(tmp_path, holdout=0).split("test")
    for wrong in (1, -3):
        with pytest.raises(SceneError, match="hold out"):
            read_scene(tmp_path, holdout=wrong)
    write_nerfstudio(tmp_path / "one", nerfstudio_json(1))
    assert read_scene(tmp_path / "one").views[0].split == "train"


def test_nothing_is_decoded_before_it_is_asked_for(tmp_path: Path) -> None:
    write_nerfstudio(tmp_path)
    whole = (tmp_path / NAMES[1]).read_bytes()
    (tmp_path / NAMES[1]).write_bytes(whole[:60])
    (tmp_path / NAMES[0]).write_bytes(b"")
    scene = read_scene(tmp_path)
    assert scene.views[2].picture.image().shape == (HEIGHT, WIDTH, 3)
    for index in (0, 1):
        with pytest.raises(SceneError, match=rf"{NAMES[index]} cannot be read"):
            scene.views[index].picture.image()


def test_shrunk_photos_rescale_their_lens(tmp_path: Path) -> None:
    document = nerfstudio_json(2, w=2 * WIDTH, h=2 * HEIGHT, k1=-0.02)
    scene = read_scene(write_nerfstudio(tmp_path, document))
    camera = scene.views[0].camera
    assert camera.size == (WIDTH, HEIGHT) and scene.views[0].picture.image().shape == (HEIGHT, WIDTH, 3)
    assert len(scene.notes) == 1 and "48x32" in scene.notes[0] and "96x64" in scene.notes[0]
    straight = read_scene(write_nerfstudio(tmp_path / "straight", document | {"k1": 0.0})).views[0].camera
    assert straight.focal_px.tolist() == [20.0, 20.5] and straight.centre_px.tolist() == [12.5, 7.5]


def test_one_photo_of_another_size_is_brought_to_its_camera(tmp_path: Path) -> None:
    scene = read_scene(write_nerfstudio(tmp_path))
    before = scene.views[1].picture.image()
    big = np.asarray((read_image(tmp_path / NAMES[1]) * 255).byte()).repeat(2, 0).repeat(2, 1)
    photo(tmp_path / NAMES[1], big)
    assert torch.allclose(scene.views[1].picture.image(), before, atol=1e-3)
    assert scene.views[1].picture.photo_to_camera(20.0, 30.0) == pytest.approx((10.0, 15.0))
    photo(tmp_path / NAMES[1], np.zeros((HEIGHT, HEIGHT, 3), dtype=np.uint8))
    with pytest.raises(SceneError, match=r"001\.png has 32x32 pixels.*48x32, another shape"):
        scene.views[1].picture.image()


def test_another_shape_of_the_first_photo_is_told_at_once(tmp_path: Path) -> None:
    write_nerfstudio(tmp_path, nerfstudio_json(2, w=64, h=HEIGHT))
    with pytest.raises(SceneError, match=r"000\.png has 48x32 pixels.*64x32, another shape"):
        read_scene(tmp_path)
    almost = nerfstudio_json(2, w=WIDTH, h=HEIGHT + 1)  # a pixel of rounding is none
    assert read_scene(write_nerfstudio(tmp_path, almost)).views[0].camera.size == (WIDTH, HEIGHT)


def test_depth_maps_may_be_coarser_than_photos(tmp_path: Path) -> None:
    document = nerfstudio_json(1)
    document["frames"][0]["depth_file_path"] = "d.png"
    write_nerfstudio(tmp_path, document)
    photo(tmp_path / "d.png", np.arange(6 * 4, dtype=np.uint16).reshape(4, 6) * 1000)
    depth = read_scene(tmp_path, normalise=False).views[0].picture.depth()
    expected = torch.arange(24.0).reshape(4, 6).repeat_interleave(8, 0).repeat_interleave(8, 1)
    assert depth is not None and torch.allclose(depth, expected)


def test_intrinsics_that_are_left_out(tmp_path: Path) -> None:
    document = nerfstudio_json(1, w=None, h=None, fl_x=None, fl_y=None, cx=None, cy=None, camera_angle_x=0.9)
    camera = read_scene(write_nerfstudio(tmp_path, document)).views[0].camera
    assert camera.size == (WIDTH, HEIGHT) and camera.centre_px.tolist() == [WIDTH / 2, HEIGHT / 2]
    expected = WIDTH / 2 / np.tan(0.45)
    assert camera.focal_px.tolist() == pytest.approx([expected, expected])


def test_albedo_beside_the_photos_and_absent_layers(tmp_path: Path) -> None:
    document = nerfstudio_json(2)
    for frame in document["frames"]:
        frame["diffuse_file_path"] = "diffuse/none.png"
    write_nerfstudio(tmp_path, document)
    photo(tmp_path / "albedo/000.png")
    scene = read_scene(tmp_path)
    albedo = scene.views[0].picture.layer("albedo")
    assert albedo is not None and torch.equal(albedo, read_image(tmp_path / "albedo/000.png"))
    assert scene.views[1].picture.layer("albedo") is None and scene.views[0].picture.layer("diffuse") is None
    assert scene.notes == ("2 files named by diffuse_file_path do not exist; ignored",)


@pytest.mark.parametrize("applied_scale", [None, 2.0])
def test_seed_points_are_in_the_frame_of_the_poses(tmp_path: Path, applied_scale: float | None) -> None:
    document = nerfstudio_json(ply_file_path="points.ply", applied_scale=applied_scale)
    document["applied_transform"] = [
        [0, 1, 0, 0],
        [1, 0, 0, 0],
        [0, 0, -1, 0],
    ]  # already in the poses and the PLY
    write_nerfstudio(tmp_path, document)
    positions = np.concatenate([POINTS, [[np.nan, 0.0, 0.0]]])
    colours = np.arange(15).reshape(5, 3) * 17
    write_ply(tmp_path / "points.ply", positions, colours)
    scene = read_scene(tmp_path)
    assert scene.points is not None and len(scene.points.positions) == 4, (
        "points that are not finite are dropped"
    )
    back = scene.world_from_capture.inverse.points(scene.points.positions.double())
    assert np.allclose(back.numpy(), POINTS * (applied_scale or 1.0), atol=1e-5)
    assert np.allclose(scene.points.colours.numpy(), colours[:4] / 255)
    assert read_scene(tmp_path, points=False).points is None
    write_ply(tmp_path / "points.ply", POINTS)
    grey = read_scene(tmp_path).points
    assert grey is not None and (grey.colours == 0.5).all()


def test_seed_points_that_are_missing_are_noted_and_broken_ones_refused(tmp_path: Path) -> None:
    write_nerfstudio(tmp_path, nerfstudio_json(ply_file_path="points.ply"))
    scene = read_scene(tmp_path)
    assert scene.points is None and "points.ply" in scene.notes[0]
    for content in (
        b"",
        b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nend_header\n1\n",
        b"nonsense",
    ):
        (tmp_path / "points.ply").write_bytes(content)
        with pytest.raises(SceneError, match=r"points\.ply cannot be read") as caught:
            read_scene(tmp_path)
        assert "\n" not in str(caught.value)


def test_transparent_photos_lie_on_the_background(tmp_path: Path) -> None:
    pixels = np.full((HEIGHT, WIDTH, 4), 200, dtype=np.uint8)
    pixels[:, :10, 3] = 0
    write_nerfstudio(tmp_path, nerfstudio_json(1), photos=False)
    photo(tmp_path / NAMES[0], pixels)
    picture = read_scene(tmp_path, background=(0.0, 0.5, 1.0)).views[0].picture
    assert torch.allclose(picture.image()[0, 0], torch.tensor([0.0, 0.5, 1.0]))
    alpha = picture.layer("alpha")
    assert (
        alpha is not None
        and alpha.shape == (HEIGHT, WIDTH, 1)
        and alpha[0, 0] == 0
        and picture.mask() is None
    )
    assert torch.equal(read_scene(tmp_path).views[0].picture.image()[0, 0], torch.ones(3))


def test_unknown_formats_and_factors(tmp_path: Path) -> None:
    write_nerfstudio(tmp_path)
    with pytest.raises(UnknownNameError, match="did you mean 'colmap'"):
        read_scene(tmp_path, kind="colmpa")
    for wrong in (0.0, 0.5, -1.0, float("nan")):
        with pytest.raises(SceneError, match="scale photos down"):
            read_scene(tmp_path, downscale=wrong)


def test_everything_about_a_scene_is_json_text(tmp_path: Path) -> None:
    """A byte order mark, as editors on Windows write it, does no harm."""
    write_nerfstudio(tmp_path)
    text = json.dumps(nerfstudio_json())
    (tmp_path / "transforms.json").write_text("\ufeff" + text, encoding="utf-8")
    assert len(read_scene(tmp_path).views) == 5


@pytest.mark.parametrize("applied_scale", [None, 2.0])
def test_depth_is_in_world_units(tmp_path: Path, applied_scale: float | None) -> None:
    document = nerfstudio_json(applied_scale=applied_scale)
    for frame in document["frames"]:
        frame["depth_file_path"] = "d.png"
    photo(tmp_path / "d.png", np.full((HEIGHT, WIDTH), 4000, dtype=np.uint16))
    scene = read_scene(write_nerfstudio(tmp_path, document))
    depth = scene.views[1].picture.depth()
    assert depth is not None and scene.world_from_capture.scale == pytest.approx(0.25)
    assert torch.allclose(depth, torch.tensor(4.0 * (applied_scale or 1.0) * 0.25))
