"""Prompts and selections as JSON: exact, so that what is replayed is the same bit for bit.

A camera is written as the name of the field's view where it is that view's, else as numbers. Numbers are written with
all their digits; masks and scores are packed (`featurefields.json_tensors`).
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch

from featurefields.camera import Camera
from featurefields.errors import FileFormatError, PromptError
from featurefields.json_tensors import packed, unpacked
from featurefields.segmentation.prompts import Box, Click, MaskPrompt, Prompt, Scribble, Text
from featurefields.segmentation.viewed import camera_key
from featurefields.selection import Selection

Record = dict[str, Any]

VERSION = str(import_module(__name__.partition(".")[0]).__version__)
"""Of this package; records tell what wrote them."""


def prompt_record(prompt: Prompt, cameras: Mapping[str, Camera]) -> Record:
    """A prompt as JSON; `prompt_of` is the inverse."""
    record: Record = {"kind": prompt.kind, "positive": prompt.positive}
    if isinstance(prompt, Text):
        return record | {"phrase": prompt.phrase}
    record |= {"name": prompt.name} | _camera_record(prompt.camera, cameras)
    if isinstance(prompt, Click):
        return record | {"x": prompt.x, "y": prompt.y}
    if isinstance(prompt, Box):
        return record | {"box": [prompt.x0, prompt.y0, prompt.x1, prompt.y1]}
    if isinstance(prompt, Scribble):
        return record | {"points": [list(point) for point in prompt.points], "radius_px": prompt.radius_px}
    return record | {"mask": packed(prompt.mask), "whole": prompt.whole}


def described(prompt: Prompt, cameras: Mapping[str, Camera]) -> Record:
    """A prompt as JSON to be read by people: masks as how many pixels they have."""
    record = prompt_record(prompt, cameras)
    return record | {"mask": int(prompt.mask.sum())} if isinstance(prompt, MaskPrompt) else record


def prompt_of(record: Record, cameras: Mapping[str, Camera]) -> Prompt:
    """The prompt that was written; may raise what reading foreign JSON raises (KeyError, TypeError, ValueError).

    Raises:
        PromptError: it was given in a view that the field does not remember.
        FileFormatError: it is of an unknown kind.
    """
    kind, positive = record["kind"], _bool(record["positive"])
    if kind == Text.kind:
        return Text(str(record["phrase"]), positive)
    camera, name = _camera_of(record, cameras), str(record["name"])
    if kind == Click.kind:
        return Click(float(record["x"]), float(record["y"]), camera, positive, name)
    if kind == Box.kind:
        x0, y0, x1, y1 = map(float, record["box"])
        return Box(x0, y0, x1, y1, camera, positive, name)
    if kind == Scribble.kind:
        points = tuple((float(x), float(y)) for x, y in record["points"])
        return Scribble(points, camera, float(record["radius_px"]), positive, name)
    if kind == MaskPrompt.kind:
        mask = unpacked(record["mask"], torch.bool)
        return MaskPrompt(mask, camera, positive, name, _bool(record["whole"]))
    raise FileFormatError(
        f"the session holds a prompt of kind '{kind}', which this version does not know; upgrade"
    )


def selection_record(selection: Selection) -> Record:
    """A selection as JSON; `selection_of` is the inverse."""
    return {
        "mask": packed(selection.mask),
        "score": packed(selection.score.float()),
        "field_id": selection.field_id,
        "how": dict(selection.how),
    }


def selection_of(record: Record) -> Selection:
    """The selection that was written; may raise what reading foreign JSON raises."""
    mask, score = unpacked(record["mask"], torch.bool), unpacked(record["score"], torch.float32)
    if mask.ndim != 1 or mask.shape != score.shape:
        raise ValueError(f"mask {tuple(mask.shape)} and score {tuple(score.shape)} do not fit together")
    return Selection(mask, score, str(record["field_id"]), dict(record["how"]))


def _camera_record(camera: Camera, cameras: Mapping[str, Camera]) -> Record:
    key = camera_key(camera)
    for name, known in cameras.items():
        if known is camera or camera_key(known) == key:
            return {"view": name}
    return {
        "camera": {
            "world_from_camera": camera.world_from_camera.tolist(),
            "focal_px": camera.focal_px.tolist(),
            "centre_px": camera.centre_px.tolist(),
            "size": list(camera.size),
            "double": camera.focal_px.dtype == torch.float64,
        }
    }


def _camera_of(record: Record, cameras: Mapping[str, Camera]) -> Camera:
    if "view" in record:
        if record["view"] not in cameras:
            raise PromptError(
                f"a prompt was given in the view '{record['view']}', which this field does not remember; replay the "
                "session on the field that it was made on"
            )
        return cameras[record["view"]]
    numbers = record["camera"]
    dtype = torch.float64 if _bool(numbers["double"]) else torch.float32
    pose, focal, centre = (
        torch.tensor(numbers[name], dtype=dtype) for name in ("world_from_camera", "focal_px", "centre_px")
    )
    width, height = map(int, numbers["size"])
    if pose.shape != (4, 4) or focal.shape != (2,) or centre.shape != (2,) or min(width, height) < 1:
        raise ValueError("a camera of a prompt has a pose, focal length, centre or size of the wrong shape")
    return Camera(pose, focal, centre, (width, height))


def _bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value
