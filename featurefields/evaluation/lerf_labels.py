"""The labels of LERF-OVS: phrases with polygons and boxes in some frames, as LangSplat published them.

label/SCENE/frame_00006.json: {"info": {"name": "frame_00006.jpg", "width", "height"}, "objects": [{"category": text,
"segmentation": [[x, y], …], "bbox": [x0, y0, x1, y1]}, …]}, in pixels of the photo. Several objects of one category in
a frame are one query.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from featurefields.errors import SceneError
from featurefields.evaluation.protocol_folders import DOCUMENT, photos_of, subfolders
from featurefields.readers.record import Record, read_record

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class PhraseLabel:
    """What a phrase means in one photo: a mask of the photo's size, and boxes (x0 y0 x1 y1) in its pixels."""

    phrase: str
    mask: Bool[Tensor, "H W"]
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class LabelledFrame:
    """The phrases of one photo; `photo` is its name without ending, `path` the file of labels."""

    photo: str
    path: Path
    labels: tuple[PhraseLabel, ...]


@dataclass(frozen=True)
class PhraseLabels:
    """A scene of LERF-OVS: the folder of its photos, and its labelled frames."""

    name: str
    photos: Path
    frames: tuple[LabelledFrame, ...]


def read_lerf_ovs(folder: Path) -> tuple[PhraseLabels, ...]:
    """Every scene in label/ of a folder.

    Raises:
        SceneError: no labels, no photos of a scene, or a damaged file.
    """
    found = []
    for place in subfolders(folder / "label"):
        files = sorted(place.glob("*.json"))
        if not files:
            raise SceneError(f"there is no frame_*.json in {place}; {DOCUMENT}")
        frames = tuple(read_frame(path) for path in files)
        found.append(PhraseLabels(place.name, photos_of(folder, place.name), frames))
    if not found:
        raise SceneError(f"{folder / 'label'} holds no scene of LERF-OVS; {DOCUMENT}")
    return tuple(found)


def read_frame(path: Path) -> LabelledFrame:
    """The labels of one photo.

    Raises:
        SceneError: the file is no JSON, or what it says makes no sense.
    """
    document = read_record(path)
    info = document.get("info")
    about = Record(f"{path}: info", info if isinstance(info, dict) else {})
    name, width, height = about.text("name"), about.number("width"), about.number("height")
    if name is None or not width or not height or min(width, height) < 1:
        raise SceneError(f"{path}: info needs name, width and height of the photo; {DOCUMENT}")
    masks: dict[str, Tensor] = {}
    boxes: dict[str, list[Box]] = {}
    for entry in document.records("objects"):
        phrase = entry.text("category")
        if phrase is None:
            raise SceneError(f"{entry.where}: an object has no category; {DOCUMENT}")
        points = _numbers(entry, "segmentation", phrase).reshape(-1, 2)
        box = _numbers(entry, "bbox", phrase)
        if len(points) < 3 or len(box) != 4:
            raise SceneError(
                f"{path}: '{phrase}' needs a segmentation of three points or more and a bbox of four numbers, found "
                f"{len(points)} points and {len(box)} numbers"
            )
        mask = polygon_mask(points, int(width), int(height))
        masks[phrase] = masks[phrase] | mask if phrase in masks else mask
        x0, y0, x1, y1 = (float(value) for value in box)
        boxes.setdefault(phrase, []).append((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)))
    labels = tuple(PhraseLabel(phrase, mask, tuple(boxes[phrase])) for phrase, mask in masks.items())
    return LabelledFrame(Path(name).stem, path, labels)


def polygon_mask(points: np.ndarray, width: int, height: int) -> Bool[Tensor, "H W"]:
    """The pixels in a polygon (m 2), its border included; points are whole pixels, as labelling tools count them."""
    import cv2

    canvas = np.zeros((height, width), dtype=np.uint8)
    cv2.fillPoly(canvas, [np.round(points).astype(np.int32)], 1)  # type: ignore[arg-type]
    return torch.from_numpy(canvas).bool()


def _numbers(entry: Record, key: str, phrase: str) -> np.ndarray:
    try:
        values = np.asarray(entry.get(key), dtype=np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise SceneError(
            f"{entry.where}: {key} of '{phrase}' is not a list of numbers; {DOCUMENT}"
        ) from error
    if len(values) % 2 or not np.isfinite(values).all():
        raise SceneError(f"{entry.where}: {key} of '{phrase}' is not a list of points; {DOCUMENT}")
    return values
