"""Every reader of files that people give us, with a folder of valid files and which of them is damaged."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from benchmarks.hostile.scenes import points, tiny_field, transforms, write_colmap, write_photos
from featurefields.files.archive import read_archive, write_archive
from featurefields.files.camera_path import read_camera_path, read_nerfstudio_transform
from featurefields.files.ply import read_ply, write_ply
from featurefields.files.selection import read_selection, write_selection


@dataclass(frozen=True)
class Format:
    """A reader.

    Attributes:
        prepare: writes valid files into a folder.
        victim: path in it of the file that is damaged.
        read: reads the folder.
    """

    prepare: Callable[[Path], object]
    victim: str
    read: Callable[[Path], object]


def _ply(folder: Path) -> None:
    write_ply(tiny_field().splats, folder / "s.ply")


def _text_ply(folder: Path) -> None:
    import numpy as np
    from plyfile import PlyData

    _ply(folder)
    whole = PlyData.read(str(folder / "s.ply"))
    rows = np.array(whole["vertex"].data)
    from plyfile import PlyElement

    PlyData([PlyElement.describe(rows, "vertex")], text=True).write(str(folder / "s.ply"))


def _selection(folder: Path) -> None:
    import torch

    from featurefields.selection import Selection

    mask = torch.tensor([True, False, True, False, False])
    write_selection(
        Selection(mask, mask.float(), tiny_field().fingerprint(), {"by": "click"}), folder / "s.safetensors"
    )


def _archive(folder: Path) -> None:
    write_archive(tiny_field(), folder / "field.safetensors")


def _scene(folder: Path) -> None:
    write_photos(folder)
    (folder / "points.ply").write_bytes(points())
    (folder / "transforms.json").write_bytes(transforms())
    clicks = {
        "cup": {"id": 3, "image": "images/0.png", "x": 3, "y": 4},
        "pot": {"id": 4, "image": "images/1.png", "x": 1.5, "y": 2},
    }
    (folder / "clicks.json").write_text(json.dumps(clicks))


def _blender(folder: Path) -> None:
    write_photos(folder)
    record = json.loads(transforms(""))
    for split, frames in (("train", record["frames"][:2]), ("test", record["frames"][2:])):
        (folder / f"transforms_{split}.json").write_text(json.dumps({**record, "frames": frames}))


def _colmap(text: bool) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        write_photos(folder)
        write_colmap(folder, text=text)

    return prepare


def _read_scene(folder: Path) -> object:
    from featurefields.readers import read_scene

    return read_scene(folder)


def _read_clicks(folder: Path) -> object:
    from featurefields_cli.clicks import read_clicks

    return read_clicks(_scene_of(folder))


@lru_cache(maxsize=2)
def _scene_of(folder: Path) -> object:
    return _read_scene(folder)


def _script(folder: Path) -> None:
    import torch

    from featurefields.json_tensors import packed

    who = packed(torch.tensor([True, False, True, False, False]))
    edits: list[dict[str, object]] = [
        {"edit": "recolor", "rgb": [0.1, 0.4, 0.8], "selection": "cup"},
        {"edit": "delete", "selection": {"name": "cup", "who": who}},
    ]
    base = {"file": "field.safetensors", "sha256": "ab", "field_id": "cd", "splats": 5}
    record = {"schema": 1, "kind": "edits", "version": "0", "base": base, "done": 2, "edits": edits}
    record |= {"result_sha256": "", "selections": {"cup": "cup.safetensors"}, "session": ""}
    (folder / "edits.json").write_text(json.dumps(record))


def _read_script(folder: Path) -> object:
    from featurefields.editing.scripts import read_script

    return read_script(folder / "edits.json")


def _session(folder: Path) -> None:
    from featurefields.files.session import write_session
    from featurefields.raster import choose_rasterizer
    from featurefields.segmentation.prompts import Click
    from featurefields.segmentation.session import Session

    field = tiny_field()
    session = Session(field, choose_rasterizer("reference"))
    camera = field.about.cameras["a"]
    session.add(Click(8.0, 6.0, camera, True, "a"))
    session.keep("cup")
    session.add(Click(7.0, 6.0, camera, False, "a"))
    write_session(session.record(), folder / "session.json")


def _read_session(folder: Path) -> object:
    from featurefields.files.session import read_session
    from featurefields.raster import choose_rasterizer
    from featurefields.segmentation.session import Session

    record = read_session(folder / "session.json")
    return Session.replay(record, _field(), choose_rasterizer("reference")).selection


@lru_cache(maxsize=1)
def _field():
    return tiny_field()


def _camera_path(folder: Path) -> None:
    turned = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 4, 0, 0, 0, 1]
    keys = [
        {"view": "a", "fov": 40},
        {"matrix": turned, "seconds": 0.5},
        {"position": [1, 0, 3], "look_at": [0, 0, 0], "up": [0, 1, 0]},
    ]
    record = {"keyframes": keys, "fps": 4, "render_width": 8, "render_height": 6, "closed": True}
    record |= {"default_fov": 50, "default_transition_sec": 1, "up": [0, 1, 0]}
    (folder / "path.json").write_text(json.dumps(record))


def _frames(folder: Path) -> None:
    _camera_path(folder)
    record = json.loads((folder / "path.json").read_text())
    (folder / "path.json").write_text(json.dumps({**record, "camera_path": record["keyframes"]}))


def _transform(folder: Path) -> None:
    record = {"transform": [[1, 0, 0, 1], [0, 1, 0, 2], [0, 0, 1, 3]], "scale": 0.5}
    (folder / "dataparser_transforms.json").write_text(json.dumps(record))


def _formats() -> dict[str, Format]:
    cameras = tiny_field().about.cameras

    def read_path(folder: Path) -> object:
        return read_camera_path(folder / "path.json", cameras)

    found = {
        "ply": Format(_ply, "s.ply", lambda folder: read_ply(folder / "s.ply")),
        "text ply": Format(_text_ply, "s.ply", lambda folder: read_ply(folder / "s.ply")),
        "archive": Format(_archive, "field.safetensors", read_archive),
        "selection": Format(
            _selection, "s.safetensors", lambda folder: read_selection(folder / "s.safetensors")
        ),
        "transforms.json": Format(_scene, "transforms.json", _read_scene),
        "seed points": Format(_scene, "points.ply", _read_scene),
        "clicks.json": Format(_scene, "clicks.json", _read_clicks),
        "blender": Format(_blender, "transforms_train.json", _read_scene),
        "edit script": Format(_script, "edits.json", _read_script),
        "session": Format(_session, "session.json", _read_session),
        "keyframes": Format(_camera_path, "path.json", read_path),
        "camera path": Format(_frames, "path.json", read_path),
        "nerfstudio transform": Format(
            _transform,
            "dataparser_transforms.json",
            lambda folder: read_nerfstudio_transform(folder / "dataparser_transforms.json"),
        ),
    }
    for ending, text in (("bin", False), ("txt", True)):
        for table in ("cameras", "images", "points3D", "rigs", "frames"):
            name = f"colmap {table}.{ending}"
            found[name] = Format(_colmap(text), f"sparse/0/{table}.{ending}", _read_scene)
    return found


FORMATS = _formats()
