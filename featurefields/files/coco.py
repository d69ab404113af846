"""Masks as COCO JSON, the format of object detection data sets that annotation tools read.

Letters: h w pixels.

Masks are run-length encoded as pycocotools reads them (https://cocodataset.org/#format-data): pixels go down the
columns, runs of 0 and 1 take turns beginning with 0, and every length is written as a number in base 32, lowest
five bits first, one character each: 48 + bits, + 32 when more follow. From the fourth run on the difference to the
length two runs before is written; the highest of the last five bits is the sign.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from featurefields.atomic import write_bytes
from featurefields.errors import FileFormatError

LOW_BITS, SIGN_BIT, MORE_BIT, FIRST_CHARACTER = 31, 16, 32, 48


@dataclass(frozen=True)
class CocoMask:
    """One object in one picture, encoded.

    Attributes:
        picture: index of the picture among those of the document.
        category: index of the object's name among those of the document.
        area: number of pixels.
        box: [x, y, width, height] in pixels, (0, 0) being the picture's top left corner; zeros without a pixel.
        runs: the mask as `run_lengths` gives it.
    """

    picture: int
    category: int
    area: int
    box: tuple[int, int, int, int]
    runs: Mapping[str, object]

    @staticmethod
    def of(picture: int, category: int, mask: Bool[Tensor, "h w"]) -> "CocoMask":
        """The object's pixels, measured and encoded."""
        rows, columns = (mask.any(axis).nonzero()[:, 0].tolist() for axis in (1, 0))
        box = (0, 0, 0, 0)
        if rows:
            box = (columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)
        return CocoMask(picture, category, int(mask.sum()), box, run_lengths(mask))


def run_lengths(mask: Bool[Tensor, "h w"]) -> dict[str, object]:
    """The mask as {"size": [h, w], "counts": text}, what pycocotools calls a compressed RLE."""
    pixels = mask.detach().cpu().numpy().T.reshape(-1)
    ends = np.flatnonzero(np.diff(pixels)) + 1
    starts = np.concatenate([[0], ends]) if pixels.size and not pixels[0] else np.concatenate([[0, 0], ends])
    lengths = np.diff(starts, append=pixels.size) if pixels.size else np.zeros(0, dtype=np.int64)
    differences = lengths.copy()
    differences[3:] -= lengths[1:-2]
    return {"size": list(mask.shape), "counts": "".join(_characters(int(value)) for value in differences)}


def mask_of_runs(runs: Mapping[str, object]) -> Bool[Tensor, "h w"]:
    """The inverse of `run_lengths`; also takes "counts" that are a list of lengths (uncompressed RLE).

    Raises:
        FileFormatError: size and counts are missing, malformed, or do not fit together.
    """
    size, counts = runs.get("size"), runs.get("counts")
    if not (
        isinstance(size, list | tuple) and len(size) == 2 and all(type(x) is int and x >= 0 for x in size)
    ):
        raise FileFormatError(f"a COCO mask has a size [height, width], found {size!r}; export it as RLE")
    lengths = _lengths(counts) if isinstance(counts, str) else counts
    whole = isinstance(lengths, list) and all(type(x) is int and x >= 0 for x in lengths)
    if not whole or sum(lengths) != size[0] * size[1]:  # type: ignore[arg-type]
        raise FileFormatError(
            f"a COCO mask of {size[1]} x {size[0]} pixels has counts that do not add up to its pixels; export it again"
        )
    values = np.arange(len(lengths)) % 2 == 1  # type: ignore[arg-type]
    pixels = np.repeat(values, lengths).reshape(size[1], size[0]).T  # type: ignore[arg-type]
    return torch.from_numpy(np.ascontiguousarray(pixels))


def write_coco(
    path: str | Path,
    pictures: Sequence[tuple[str, tuple[int, int]]],
    categories: Sequence[str],
    masks: Iterable[CocoMask],
    *,
    description: str = "",
    overwrite: bool = False,
) -> Path:
    """Write a document with pictures (file name, (width, height)), names of categories and masks; ids count from 1.

    Masks without a pixel are left out.

    Raises:
        WriteError: `path` exists and `overwrite` is False, or the system refused.
    """
    annotations = [
        {
            "id": number,
            "image_id": entry.picture + 1,
            "category_id": entry.category + 1,
            "iscrowd": 0,
            "area": entry.area,
            "bbox": list(entry.box),
            "segmentation": dict(entry.runs),
        }
        for number, entry in enumerate((entry for entry in masks if entry.area), start=1)
    ]
    document = {
        "info": {"description": description},
        "images": [
            {"id": number, "file_name": name, "width": width, "height": height}
            for number, (name, (width, height)) in enumerate(pictures, start=1)
        ],
        "annotations": annotations,
        "categories": [
            {"id": number, "name": name, "supercategory": "object"}
            for number, name in enumerate(categories, start=1)
        ],
    }
    text = json.dumps(document, allow_nan=False) + "\n"
    return write_bytes(path, text.encode(), overwrite=overwrite)


def _characters(value: int) -> str:
    """One signed number in base 32."""
    found = []
    while True:
        bits, value = value & LOW_BITS, value >> 5
        last = value == (-1 if bits & SIGN_BIT else 0)
        found.append(chr(FIRST_CHARACTER + bits + (0 if last else MORE_BIT)))
        if last:
            return "".join(found)


def _lengths(text: str) -> list[int]:
    """The inverse of `_characters` and of taking differences; negative where the text is damaged."""
    lengths: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - FIRST_CHARACTER
        if not 0 <= code < 2 * MORE_BIT:
            return [-1]
        value |= (code & LOW_BITS) << shift
        shift += 5
        if code & MORE_BIT:
            continue
        if code & SIGN_BIT:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    return lengths if shift == 0 else [-1]
