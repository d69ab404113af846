"""The strip of candidates: one small picture of each, as an image inside of markdown."""

import base64
import io
from collections.abc import Sequence

import torch
from jaxtyping import Bool
from PIL import Image
from torch import Tensor

from featurefields.field import FeatureField
from featurefields.selection import Selection
from featurefields.viewer.cameras import Pose
from featurefields.viewer.drawing import Mark, Painter, Seen
from featurefields.viewer.palette import CURRENT
from featurefields.visualization.sheets import strip

DRAWN_PX = 320
LEAST_PX = 110
"""Previews show at least so much around a small object."""
MARGIN = 0.15
LARGE = 1 / 3
"""Candidates that mark so much of the picture do not decide what the previews show: the others would be tiny."""
SEEN = 0.02


def strip_of(painter: Painter, field: FeatureField, chosen: Sequence[Selection], pose: Pose) -> str:
    """Markdown with a numbered picture of every selection, seen from `pose`."""
    camera = pose.camera(DRAWN_PX)
    plain = painter.plain(Seen(field), camera, painter.layers[0])
    pictures = [
        painter.marked(plain, Seen(field, (Mark(selection.mask.cpu(), CURRENT),)), camera)
        for selection in chosen
    ]
    changed = torch.stack([(picture - plain).abs().amax(-1) > SEEN for picture in pictures])
    small = changed[changed.float().mean((1, 2)) < LARGE]
    rows, columns = around((small if len(small) else changed).any(0))
    pictures = [picture[rows, columns] for picture in pictures]
    sheet = strip(pictures, [str(number + 1) for number in range(len(pictures))], columns=2)
    return f"![candidates](data:image/jpeg;base64,{jpeg(sheet)})"


def around(mask: Bool[Tensor, "h w"]) -> tuple[slice, slice]:
    """Rows and columns of a square around the largest of what is marked, with a margin; everything without marks."""
    height, width = mask.shape
    places = mask.nonzero()
    if len(places) == 0:
        return slice(0, height), slice(0, width)
    low, high = places.amin(0), places.amax(0) + 1
    side = min(max(LEAST_PX, round(float((high - low).max()) * (1 + 2 * MARGIN))), height, width)
    top, left = ((low + high - side) // 2).tolist()
    top, left = max(0, min(top, height - side)), max(0, min(left, width - side))
    return slice(top, top + side), slice(left, left + side)


def jpeg(image: Tensor) -> str:
    """A picture (h w 3), colours in 0..1, as the base64 text of a JPEG."""
    pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=85)
    return base64.b64encode(stream.getvalue()).decode("ascii")
