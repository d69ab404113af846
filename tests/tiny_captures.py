"""One tiny photographed scene, laid out as each of the data sets that nerfstudio's parsers read."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pycolmap
from PIL import Image
from tiny_scenes import FLIP

Frame = dict[str, Any]
SPLIT = 8
"""Photos of the training split, where the layout says."""
BEND = (0.03, -0.01, 0.002, 0.001)


@dataclass(frozen=True)
class Layout:
    """How a parser is called, and what it should find.

    Attributes:
        write: writes photos and poses of a nerfstudio folder into another, and returns what `--data` is.
        settings: of the parser's configuration.
        missing: photos in the list that do not exist, as the plugin counts them.
        gone: those of them that are no extra ones: so many first cameras are not there.
        masked: whether photos have masks.
        bent: whether the lens distorts, so that cameras are others than those of the plain photos.
    """

    write: Callable[[Path, Path], Path]
    settings: dict[str, Any] = field(default_factory=dict)
    missing: int = 0
    gone: int = 0
    masked: bool = False
    bent: bool = False


def document(scene: Path) -> dict[str, Any]:
    return json.loads((scene / "transforms.json").read_text())


def frames_of(scene: Path) -> list[Frame]:
    return document(scene)["frames"]


def pose(frame: Frame, opencv: bool = False) -> np.ndarray:
    """Camera-to-world (4 4), OpenGL axes or OpenCV's."""
    return np.array(frame["transform_matrix"]) @ (FLIP if opencv else np.eye(4))


def intrinsics(scene: Path) -> np.ndarray:
    """The matrix (4 4)."""
    told = document(scene)
    matrix = np.eye(4)
    matrix[0, 0], matrix[1, 1] = told["fl_x"], told["fl_y"]
    matrix[0, 2], matrix[1, 2] = told["cx"], told["cy"]
    return matrix


def copied(scene: Path, frame: Frame, target: Path) -> Path:
    """A frame's photo, in the format of the target's name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.open(scene / frame["file_path"]).save(target)
    return target


def written(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def with_missing_photo(scene: Path, folder: Path) -> Path:
    """nerfstudio's own format; the first photo of the list does not exist."""
    shutil.copytree(scene, folder)
    told = document(scene)
    told["frames"].insert(0, {**told["frames"][0], "file_path": "images/000_missing.png"})
    written(folder / "transforms.json", told)
    return folder


def of_one_file(scene: Path, folder: Path) -> Path:
    """The same, named by its file."""
    return with_missing_photo(scene, folder) / "transforms.json"


def blender(scene: Path, folder: Path) -> Path:
    """Poses by split; with times, as D-NeRF has them. The first photo of the test split is missing."""
    told, frames = document(scene), frames_of(scene)
    angle = 2 * np.arctan(told["w"] / 2 / told["fl_x"])
    for split, part in (("train", frames[:SPLIT]), ("val", frames[SPLIT:]), ("test", frames[SPLIT:])):
        listed = []
        for number, frame in enumerate(part):
            name = Path(frame["file_path"])
            copied(scene, frame, folder / "images" / name.name)
            listed.append(
                {
                    "file_path": f"./images/{name.stem}",
                    "transform_matrix": frame["transform_matrix"],
                    "time": number,
                }
            )
        written(folder / f"transforms_{split}.json", {"camera_angle_x": float(angle), "frames": listed})
    return folder


def _reconstruction(scene: Path, model: str, per_image: bool = False) -> pycolmap.Reconstruction:
    told = document(scene)
    bend = [*BEND[:3], 0.0]  # nerfstudio refuses COLMAP's k4
    parameters = {"PINHOLE": [], "OPENCV": list(BEND), "OPENCV_FISHEYE": bend}[model]
    made = pycolmap.Reconstruction()
    frames = frames_of(scene)
    for number in range(1, len(frames) + 1 if per_image else 2):
        camera = pycolmap.Camera.create_from_model_name(number, model, told["fl_x"], told["w"], told["h"])
        camera.params = np.array([told["fl_x"], told["fl_y"], told["cx"], told["cy"], *parameters])
        made.add_camera_with_trivial_rig(camera)
    for number, frame in enumerate(frames, start=1):
        image = pycolmap.Image(
            name=Path(frame["file_path"]).name, camera_id=number if per_image else 1, image_id=number
        )
        placed = pycolmap.Rigid3d(np.linalg.inv(pose(frame, opencv=True))[:3])
        made.add_image_with_trivial_frame(image, placed)
    rng = np.random.default_rng(3)
    for point in rng.normal(size=(40, 3)) * 0.5:
        made.add_point3D(point, pycolmap.Track(), np.array([90, 120, 30], dtype=np.uint8))
    return made


def colmap(model: str, missing: bool = False, text: bool = False) -> Callable[[Path, Path], Path]:
    """images/ and colmap/sparse/0; the first photo may be missing."""

    def write(scene: Path, folder: Path) -> Path:
        place = folder / "colmap" / "sparse" / "0"
        place.mkdir(parents=True)
        made = _reconstruction(scene, model)
        (made.write_text if text else made.write_binary)(str(place))
        for frame in frames_of(scene)[1 if missing else 0 :]:
            copied(scene, frame, folder / "images" / Path(frame["file_path"]).name)
        return folder

    return write


def phototourism(scene: Path, folder: Path) -> Path:
    """dense/sparse with one camera for each image; sizes are not said."""
    place = folder / "dense" / "sparse"
    place.mkdir(parents=True)
    _reconstruction(scene, "PINHOLE", per_image=True).write_binary(str(place))
    for frame in frames_of(scene):
        copied(scene, frame, folder / "dense" / "images" / Path(frame["file_path"]).name)
    return folder


def scannetpp(scene: Path, folder: Path) -> Path:
    """Fisheye photos with masks in dslr/; the first training photo is missing."""
    told = document(scene)
    listed = []
    for frame in told["frames"]:
        name = Path(frame["file_path"]).with_suffix(".JPG").name
        photo = copied(scene, frame, folder / "dslr" / "resized_images" / name)
        mask = np.full(np.asarray(Image.open(photo)).shape[:2], 255, dtype=np.uint8)
        mask[:9, :7] = 0
        path = folder / "dslr" / "resized_anon_masks" / Path(name).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), mask)
        listed.append(
            {"file_path": name, "mask_path": path.name, "transform_matrix": frame["transform_matrix"]}
        )
    (folder / "dslr" / "resized_images" / listed[0]["file_path"]).unlink()
    content = {name: told[name] for name in ("fl_x", "fl_y", "cx", "cy", "w", "h")}
    content |= dict(zip(("k1", "k2", "k3", "k4"), BEND, strict=True))
    content |= {"camera_model": "OPENCV_FISHEYE", "frames": listed[:SPLIT], "test_frames": listed[SPLIT:]}
    written(folder / "dslr" / "nerfstudio" / "transforms.json", content)
    return folder


def scannet(scene: Path, folder: Path) -> Path:
    """color/, depth/, pose/ and intrinsic/; one pose is unknown."""
    (folder / "intrinsic").mkdir(parents=True)
    np.savetxt(folder / "intrinsic" / "intrinsic_color.txt", intrinsics(scene))
    for part in ("pose", "depth"):
        (folder / part).mkdir()
    frames = frames_of(scene)
    for number, frame in enumerate([*frames, frames[0]]):
        copied(scene, frame, folder / "color" / f"{number}.jpg")
        cv2.imwrite(str(folder / "depth" / f"{number}.png"), np.full((8, 8), 900, dtype=np.uint16))
        known = number < len(frames)
        np.savetxt(
            folder / "pose" / f"{number}.txt", pose(frame, opencv=True) if known else np.full((4, 4), np.inf)
        )
    return folder


def sdfstudio(scene: Path, folder: Path) -> Path:
    """meta_data.json; every photo is of all splits."""
    told = document(scene)
    listed = []
    for number, frame in enumerate(told["frames"]):
        copied(scene, frame, folder / f"{number:06d}_rgb.png")
        listed.append(
            {
                "rgb_path": f"{number:06d}_rgb.png",
                "camtoworld": pose(frame, opencv=True).tolist(),
                "intrinsics": intrinsics(scene).tolist(),
            }
        )
    content = {"height": told["h"], "width": told["w"], "has_mono_prior": False, "frames": listed}
    content["scene_box"] = {"aabb": [[-1, -1, -1], [1, 1, 1]], "near": 0.5, "far": 4.5, "radius": 1.0}
    written(folder / "meta_data.json", content)
    return folder


def sitcoms3d(scene: Path, folder: Path) -> Path:
    """cameras.json with a box of the room."""
    listed = []
    for frame in frames_of(scene):
        name = Path(frame["file_path"]).name
        copied(scene, frame, folder / "images" / name)
        listed.append(
            {
                "image_name": name,
                "camtoworld": frame["transform_matrix"],
                "intrinsics": intrinsics(scene)[:3, :3].tolist(),
            }
        )
    written(folder / "cameras.json", {"frames": listed, "bbox": [[-4.0, -4.0, -1.0], [4.0, 5.0, 4.0]]})
    return folder


def nerfosr(scene: Path, folder: Path) -> Path:
    """SCENE/final/SPLIT with one text file for each pose; sizes are not said."""
    frames = frames_of(scene)
    parts = {
        "train": frames[:SPLIT],
        "validation": frames[SPLIT:],
        "test": frames[SPLIT:],
    }
    for split, part in parts.items():
        place = folder / "lk2" / "final" / split
        for name in ("pose", "intrinsics"):
            (place / name).mkdir(parents=True)
        for frame in part:
            stem = Path(frame["file_path"]).stem
            copied(scene, frame, place / "rgb" / f"{stem}.png")
            np.savetxt(place / "pose" / f"{stem}.txt", pose(frame, opencv=True))
            np.savetxt(place / "intrinsics" / f"{stem}.txt", intrinsics(scene))
    return folder


def arkit(scene: Path, folder: Path) -> Path:
    """ARKitScenes: a trajectory of axis-angle poses, an intrinsics file for each photo."""
    told, name = document(scene), folder.name
    place = folder / f"{name}_frames"
    lines = []
    for part in ("lowres_depth", "lowres_wide_intrinsics"):
        (place / part).mkdir(parents=True)
    for number, frame in enumerate(told["frames"]):
        time = f"{100 + number * 0.1:.3f}"
        copied(scene, frame, place / "lowres_wide" / f"{name}_{time}.png")
        cv2.imwrite(str(place / "lowres_depth" / f"{name}_{time}.png"), np.full((8, 8), 900, dtype=np.uint16))
        row = [told[key] for key in ("w", "h", "fl_x", "fl_y", "cx", "cy")]
        np.savetxt(place / "lowres_wide_intrinsics" / f"{name}_{time}.pincam", np.array([row]))
        moved = np.linalg.inv(pose(frame, opencv=True))
        turn = cv2.Rodrigues(moved[:3, :3])[0][:, 0]
        lines.append(" ".join(f"{value:.9f}" for value in (float(time), *turn, *moved[:3, 3])))
    (place / "lowres_wide.traj").write_text("\n".join(lines) + "\n")
    return folder


LAYOUTS: dict[str, tuple[str, Layout]] = {
    "nerfstudio": ("nerfstudio-data", Layout(with_missing_photo, missing=1)),
    "one file": ("nerfstudio-data", Layout(of_one_file, missing=1)),
    "instant-ngp": ("instant-ngp-data", Layout(with_missing_photo, {"eval_mode": "interval"})),
    "blender": ("blender-data", Layout(blender)),
    "d-nerf": ("dnerf-data", Layout(blender)),
    "colmap": ("colmap", Layout(colmap("PINHOLE", missing=True), missing=1, gone=1)),
    "colmap bent": ("colmap", Layout(colmap("OPENCV", text=True), bent=True)),
    "colmap fisheye": ("colmap", Layout(colmap("OPENCV_FISHEYE"), bent=True)),
    "phototourism": ("phototourism-data", Layout(phototourism)),
    "scannet++": ("scannetpp-data", Layout(scannetpp, missing=1, gone=1, masked=True, bent=True)),
    "scannet": ("scannet-data", Layout(scannet)),
    "sdfstudio": ("sdfstudio-data", Layout(sdfstudio)),
    "sitcoms3d": (
        "sitcoms3d-data",
        Layout(sitcoms3d, {"include_semantics": False, "downscale_factor": 1}),
    ),
    "nerf-osr": ("nerfosr-data", Layout(nerfosr, {"scene": "lk2"})),
    "arkit": ("arkit-data", Layout(arkit)),
}
"""Layouts by name, with the name of nerfstudio's parser."""
