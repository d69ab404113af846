"""Events of the page as prompts."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import PromptError
from featurefields.segmentation.prompts import Box, Click, MaskPrompt, Prompt, Scribble

STROKE_PX = 4.0
"""Radius of a stroke, in pixels of the sharp picture."""
POINTS_AT_MOST = 1000

Point = tuple[float, float]


def prompt_of(kind: str, points: str, camera: Camera, *, positive: bool) -> Prompt:
    """The prompt of an event: "click", "box", "stroke" or "lasso" at "x,y x,y …", fractions of the picture.

    Raises:
        PromptError: the event is malformed, or a box or lasso holds nothing.
    """
    width, height = camera.size
    placed = [(min(x * width, width - 1e-3), min(y * height, height - 1e-3)) for x, y in points_of(points)]
    (x0, y0), (x1, y1) = placed[0], placed[-1]
    if kind == "click":
        return Click(x0, y0, camera, positive)
    if kind == "box":
        return Box(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1), camera, positive)
    if kind == "stroke":
        return Scribble(tuple(placed), camera, STROKE_PX, positive)
    if kind == "lasso":
        mask = inside(placed, camera.size)
        if not bool(mask.any()):
            raise PromptError("the lasso holds no pixel; draw around an object")
        return MaskPrompt(mask, camera, positive, whole=False)
    raise PromptError(f"the page sent an event of unknown kind '{kind}'; load it again")


def points_of(text: str) -> list[Point]:
    """Fractions 0..1 of "x,y x,y …". Raises `PromptError` when they are none."""
    try:
        found = [(float(x), float(y)) for x, y in (pair.split(",") for pair in text.split(" "))]
    except ValueError as error:
        raise PromptError(f"the page sent no points but '{text[:40]}'; load it again") from error
    if len(found) > POINTS_AT_MOST or not all(0 <= value <= 1 for point in found for value in point):
        raise PromptError("the page sent points outside of the picture; load it again")
    return found


def inside(points: Sequence[Point], size: tuple[int, int]) -> Bool[Tensor, "h w"]:
    """The pixels whose centres are inside of a closed line, by the even-odd rule."""
    width, height = size
    x = (torch.arange(width) + 0.5)[None, :]
    y = (torch.arange(height) + 0.5)[:, None]
    found = torch.zeros(height, width, dtype=torch.bool)
    for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]], strict=True):
        if y0 != y1:
            crosses = (y0 > y) != (y1 > y)
            found ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return found
