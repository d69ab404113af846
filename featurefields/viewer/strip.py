"""The strip of candidates: one small picture of each, as an image inside of markdown."""

import base64
import io
from collections.abc import Sequence

import torch
from PIL import Image

from featurefields.field import FeatureField
from featurefields.selection import Selection
from featurefields.viewer.cameras import Pose
from featurefields.viewer.drawing import Mark, Painter, Seen
from featurefields.viewer.palette import CURRENT
from featurefields.visualization.sheets import strip

PREVIEW_PX = 150


def strip_of(painter: Painter, field: FeatureField, chosen: Sequence[Selection], pose: Pose) -> str:
    """Markdown with a numbered picture of every selection, seen from `pose`."""
    camera = pose.camera(PREVIEW_PX)
    plain = painter.plain(Seen(field), camera, painter.layers[0])
    pictures = [
        painter.marked(plain, Seen(field, (Mark(selection.mask.cpu(), CURRENT),)), camera)
        for selection in chosen
    ]
    sheet = strip(pictures, [str(number + 1) for number in range(len(pictures))], columns=2)
    return f"![candidates](data:image/jpeg;base64,{jpeg(sheet)})"


def jpeg(image: torch.Tensor) -> str:
    """A picture (h w 3), colours in 0..1, as the base64 text of a JPEG."""
    pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=85)
    return base64.b64encode(stream.getvalue()).decode("ascii")
