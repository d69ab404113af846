"""Pictures made of pictures: a mask laid over a photo, labelled contact sheets.

Letters: h w pixels of a picture · h_sheet w_sheet pixels of a sheet · _ any number.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional

LABEL_PX = 20
GAP_PX = 4


def overlay(
    image: Float[Tensor, "h w 3"],
    mask: Bool[Tensor, "h w"] | Float[Tensor, "h w"],
    colour: tuple[float, float, float] = (1.0, 0.55, 0.1),
    *,
    strength: float = 0.45,
    outline: bool = True,
) -> Float[Tensor, "h w 3"]:
    """`image` tinted with `colour` where `mask` is (a soft mask in 0..1 tints softly).

    `outline` draws the border of mask >= 0.5 just outside of it in the full colour.
    """
    soft = mask.to(image).clamp(0.0, 1.0)[..., None]
    paint = torch.tensor(colour).to(image)
    tinted = torch.lerp(image, paint.expand_as(image), strength * soft)
    if not outline:
        return tinted
    inside = (soft[..., 0] >= 0.5).to(image)
    width = max(1, round(min(image.shape[:2]) / 300))
    grown = functional.max_pool2d(inside[None, None], 2 * width + 1, stride=1, padding=width)[0, 0]
    return torch.where((grown > inside)[..., None], paint, tinted)


def strip(
    images: Sequence[Float[Tensor, "_ _ 3"]], labels: Sequence[str] = (), *, columns: int | None = None
) -> Float[Tensor, "h_sheet w_sheet 3"]:
    """A contact sheet on white: images left to right in rows of `columns` (default: one row), labels above.

    Images may differ in size; each is fitted, unenlarged and centred, into a cell of the largest.

    Raises:
        ValueError: there is no image, or labels were given but not one for each image.
    """
    if not images:
        raise ValueError("strip was asked for a sheet of no images; give at least one")
    if labels and len(labels) != len(images):
        raise ValueError(f"strip was given {len(images)} images and {len(labels)} labels; give one for each")
    columns = min(columns or len(images), len(images))
    rows = math.ceil(len(images) / columns)
    head = LABEL_PX if labels else 0
    cell_h = max(image.shape[0] for image in images)
    cell_w = max(image.shape[1] for image in images)
    size = (columns * (cell_w + GAP_PX) + GAP_PX, rows * (cell_h + head + GAP_PX) + GAP_PX)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(LABEL_PX * 0.6)
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        left, top = GAP_PX + column * (cell_w + GAP_PX), GAP_PX + row * (cell_h + head + GAP_PX)
        if labels:
            text = _fitted(labels[index], font, cell_w)
            draw.text((left + cell_w / 2, top + head / 2), text, fill="black", font=font, anchor="mm")
        corner = (left + (cell_w - image.shape[1]) // 2, top + head + (cell_h - image.shape[0]) // 2)
        sheet.paste(_picture(image), corner)
    return torch.from_numpy(np.asarray(sheet, dtype=np.float32) / 255.0)


def _picture(image: Float[Tensor, "h w 3"]) -> Image.Image:
    levels = image.detach().to("cpu", torch.float32).nan_to_num().clamp(0.0, 1.0) * 255.0
    return Image.fromarray(levels.round().to(torch.uint8).numpy())


def _fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """`text`, or as much of its beginning as fits into `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
