"""The demo scene is what it says: posed photos and ground truth that agree with each other.

Letters: h w pixels. Reads the files without the package's readers, so that it can serve as their check.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from plyfile import PlyData
from scipy.ndimage import map_coordinates

from featurefields_assets import demo_scene

FOLDER = demo_scene()
ABOUT = json.loads((FOLDER / "meta.json").read_text(encoding="utf-8"))
CLICKS = json.loads((FOLDER / "clicks.json").read_text(encoding="utf-8"))
TRANSFORMS = json.loads((FOLDER / "transforms.json").read_text(encoding="utf-8"))
OBJECTS = {thing["id"]: thing for thing in ABOUT["objects"]}
SIZE, FOCAL = TRANSFORMS["w"], TRANSFORMS["fl_x"]


@dataclass(frozen=True)
class Frame:
    entry: dict

    def read(self, key: str) -> NDArray:
        with Image.open(FOLDER / self.entry[f"{key}file_path"]) as image:
            return np.asarray(image)

    @cached_property
    def pose(self) -> NDArray[np.float64]:
        """OpenGL camera-to-world (4 4)."""
        return np.array(self.entry["transform_matrix"])

    @cached_property
    def depth(self) -> NDArray[np.float64]:
        return self.read("depth_") * TRANSFORMS["depth_unit_scale_factor"]

    @cached_property
    def ids(self) -> NDArray[np.uint8]:
        return self.read("instance_")

    def surface(self) -> NDArray[np.float64]:
        """World points (h w 3) that the pixel centres see."""
        y, x = np.mgrid[0:SIZE, 0:SIZE] + 0.5 - SIZE / 2
        local = np.stack([x / FOCAL, -y / FOCAL, -np.ones_like(x)], -1) * self.depth[..., None]
        return local @ self.pose[:3, :3].T + self.pose[:3, 3]

    def project(self, points: NDArray) -> tuple[NDArray, NDArray]:
        """Pixels (… 2) and depths (…) of world points."""
        local = (points - self.pose[:3, 3]) @ self.pose[:3, :3]
        depth = -local[..., 2]
        return np.stack([local[..., 0], -local[..., 1]], -1) * FOCAL / depth[..., None] + SIZE / 2, depth


FRAMES = {entry["file_path"]: Frame(entry) for entry in TRANSFORMS["frames"]}
MEASURED = {name: frame for name, frame in FRAMES.items() if "diffuse_file_path" in frame.entry}
measured = pytest.mark.parametrize("name", MEASURED)


def linear(image: NDArray) -> NDArray[np.float64]:
    """Linear light of 8-bit sRGB."""
    x = image / 255
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) <= 3_000_000


def test_every_file_is_named_and_every_named_file_is_there() -> None:
    named = {
        value for entry in TRANSFORMS["frames"] for key, value in entry.items() if key.endswith("file_path")
    }
    named |= {TRANSFORMS["ply_file_path"], "transforms.json", "clicks.json", "meta.json"}
    assert named == {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}


def test_the_splits_share_nothing() -> None:
    train, test = set(TRANSFORMS["train_filenames"]), set(TRANSFORMS["test_filenames"])
    assert len(train) >= 40 and len(test) >= 6 and not train & test and train | test == set(FRAMES)
    assert test <= set(MEASURED) and train & set(MEASURED)


def test_nothing_tells_where_it_was_made() -> None:
    for path in FOLDER.glob("*.json"):
        assert not any(
            word in path.read_text(encoding="utf-8") for word in ("/tmp", "/home", "/root", "/work")
        )


@pytest.mark.parametrize("name", FRAMES)
def test_poses_are_rigid_upright_and_look_at_the_table(name: str) -> None:
    pose = FRAMES[name].pose
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-7)
    assert np.linalg.det(pose[:3, :3]) > 0 and pose[2, 1] > 0 and abs(pose[2, 0]) < 1e-7
    pixel, depth = FRAMES[name].project(np.zeros(3))
    assert depth > 1 and np.abs(pixel - SIZE / 2).max() < SIZE / 4


@pytest.mark.parametrize("name", FRAMES)
def test_sizes_and_the_sky(name: str) -> None:
    frame = FRAMES[name]
    assert frame.read("").shape == (SIZE, SIZE, 3)
    assert ((frame.depth > 0) == (frame.ids > 0)).all() and set(np.unique(frame.ids)) <= {0, *OBJECTS}


def disagreement(here: Frame, there: Frame, shift: float = 0.0) -> tuple[NDArray, NDArray]:
    """Depth errors and ids of what `here` sees, looked up in `there` (`shift` pixels aside), inside one object."""
    pixel, depth = there.project(here.surface())
    inside = (here.ids > 0) & (pixel > 1).all(-1) & (pixel < SIZE - 2).all(-1)
    x, y = pixel[inside].T - 0.5 + np.array([[shift], [0.0]])
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    ids = here.ids[inside]
    whole = np.all(
        [there.ids[row + down, column + right] == ids for down in (0, 1) for right in (0, 1)], axis=0
    )
    nearness = map_coordinates(1 / np.maximum(there.depth, 1e-3), [y, x], order=1)  # planes are linear in 1/z
    return (1 / nearness - depth[inside])[whole], ids[whole]


@pytest.mark.parametrize("name", FRAMES)
def test_depths_and_ids_of_neighbouring_views_agree(name: str) -> None:
    here = FRAMES[name]
    others = [frame for frame in FRAMES.values() if frame is not here]
    there = min(others, key=lambda frame: np.linalg.norm(frame.pose[:3, 3] - here.pose[:3, 3]))
    error, ids = disagreement(here, there)
    assert len(error) > 0.5 * (here.ids > 0).sum()
    assert np.quantile(np.abs(error[ids == 1]), 0.9) < 0.0012
    assert np.median(np.abs(error[ids > 1])) < 0.001
    assert (error > 0.01).mean() < 0.02, "something stands before what the other view sees there"
    aside, ids = disagreement(here, there, shift=1.0)
    assert np.median(np.abs(aside[ids > 1])) > 0.002


@measured
def test_normals_are_those_of_the_depth(name: str) -> None:
    frame = MEASURED[name]
    stored = frame.read("normal_") / 255 * 2 - 1
    points = frame.surface()
    across, down = points[1:-1, 2:] - points[1:-1, :-2], points[2:, 1:-1] - points[:-2, 1:-1]
    found = np.cross(down, across)
    found /= np.linalg.norm(found, axis=-1, keepdims=True) + 1e-12
    table = frame.ids == 1
    inner = table[1:-1, 1:-1] & table[1:-1, 2:] & table[1:-1, :-2] & table[2:, 1:-1] & table[:-2, 1:-1]
    stored = stored[1:-1, 1:-1]
    np.testing.assert_allclose(np.linalg.norm(stored[inner], axis=-1), 1, atol=0.02)
    assert np.median((found * stored).sum(-1)[inner]) > 0.995
    towards = frame.pose[:3, 3] - points[1:-1, 1:-1]
    assert ((towards * stored).sum(-1)[frame.ids[1:-1, 1:-1] > 0] > -0.05).all()


@measured
def test_diffuse_and_specular_add_up_to_the_photo(name: str) -> None:
    """In linear light: matter only loses light by its coat; matt things have none; metal is all reflection."""
    frame = MEASURED[name]
    photo, diffuse = linear(frame.read("")), linear(frame.read("diffuse_"))
    coat = photo - diffuse
    jpeg = name.endswith(".jpg")
    for number, thing in OBJECTS.items():
        region = frame.ids == number
        inner = (
            region
            & np.roll(region, 1, 0)
            & np.roll(region, -1, 0)
            & np.roll(region, 1, 1)
            & np.roll(region, -1, 1)
        )
        if inner.sum() < 50:
            continue
        if thing["kind"] == "matte":
            assert np.abs(coat[inner]).mean() < (0.02 if jpeg else 0.004), thing["name"]
        elif thing["kind"] == "metal":
            assert diffuse[inner].mean() < 0.01 < 0.1 < photo[inner].mean(), thing["name"]
        else:
            assert coat[inner].mean() > 0.01 and np.quantile(coat[inner], 0.01) > -0.06, thing["name"]


def test_reflections_move() -> None:
    """The glossy objects look different from different sides, more than their diffuse part does."""
    for number in (n for n, thing in OBJECTS.items() if thing["kind"] == "coated" and not thing["textured"]):
        colours = {"": [], "diffuse_": []}
        for frame in MEASURED.values():
            for key, spread in colours.items():
                spread.append(linear(frame.read(key))[frame.ids == number].std(0).mean())
        assert np.mean(colours[""]) > 1.3 * np.mean(colours["diffuse_"])


def test_photos_are_neither_dark_nor_burnt() -> None:
    for frame in FRAMES.values():
        photo = frame.read("")
        assert 70 < photo.mean() < 185 and (photo == 255).all(-1).mean() < 0.03


@pytest.mark.parametrize("name", CLICKS)
def test_clicks_hit_their_object(name: str) -> None:
    click = CLICKS[name]
    frame = FRAMES[click["image"]]
    assert OBJECTS[click["id"]]["name"] == name and click["image"] in TRANSFORMS["train_filenames"]
    assert frame.ids[click["y"], click["x"]] == click["id"]
    assert (frame.ids == click["id"]).sum() == click["pixels"] >= 500


def test_every_object_has_a_click_and_is_seen_often() -> None:
    assert set(CLICKS) == {thing["name"] for thing in OBJECTS.values()}
    for number in OBJECTS:
        assert sum((frame.ids == number).sum() > 200 for frame in FRAMES.values()) > 0.9 * len(FRAMES)


def test_materials_are_varied() -> None:
    kinds = {(thing["kind"], thing["textured"]) for thing in OBJECTS.values()}
    assert (
        kinds >= {("matte", True), ("coated", True), ("coated", False), ("metal", False)}
        and len(OBJECTS) >= 6
    )


def test_seed_points_lie_on_the_surfaces_in_their_colours() -> None:
    vertices = PlyData.read(FOLDER / TRANSFORMS["ply_file_path"])["vertex"]
    points = np.stack([vertices[axis] for axis in "xyz"], -1).astype(float)
    colours = np.stack([vertices[name] for name in ("red", "green", "blue")], -1) / 255
    assert 6000 <= len(points) <= 10000
    distant = np.linalg.norm(points, axis=-1) > 5
    assert 500 <= distant.sum() <= 2000
    frame = next(iter(MEASURED.values()))
    pixel, depth = frame.project(points)
    inside = (pixel > 0).all(-1) & (pixel < SIZE).all(-1) & (depth > 0) & ~distant
    x, y = pixel[inside].astype(int).T
    seen = np.abs(frame.depth[y, x] - depth[inside]) < 0.02
    assert seen.mean() > 0.4
    photo = frame.read("") / 255
    apart = np.abs(photo[y, x] - colours[inside])[seen].mean()
    shuffled = np.abs(photo[y, x] - colours[inside][::-1])[seen].mean()
    assert apart < 0.15 and apart < 0.7 * shuffled


@pytest.mark.parametrize("key", ["roughness_"])
@measured
def test_roughness_belongs_to_the_object(name: str, key: str) -> None:
    frame = MEASURED[name]
    for number in np.unique(frame.ids):
        expected = OBJECTS[number]["roughness"] if number else 1.0
        assert np.abs(frame.read(key)[frame.ids == number] / 255 - expected).max() <= 0.5 / 255 + 1e-4


def test_folder_is_the_installed_one(demo_scene: Path) -> None:
    assert demo_scene == FOLDER and (demo_scene / "transforms.json").is_file()
