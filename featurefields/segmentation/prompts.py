"""Prompts: what a user points at.

Letters: h w pixels · D extracted feature dimension · t phrases.

Pixel coordinates are continuous: the top left corner of a picture is (0, 0) and its first pixel's centre (0.5, 0.5).
A prompt's `name` is how messages call it; its coordinates where there is none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import PromptError
from featurefields.segmentation.pixels import grown, near_line

RADIUS_PX = 1.5
"""A click means the pixels within this distance of it."""

COVERED_MIN = 0.5
"""A click on pixels that the Gaussians cover less than this hits nothing."""

AREA_COVERED_MIN = 0.02
"""A box, scribble or mask that the Gaussians cover less than this shows nothing."""

RING, RING_PX = 0.2, 3.0
"""What is beside an object is looked for in a ring: this part of the object's size wide, at least so many pixels."""

LEAST_RADIUS_PX = 0.75
"""A pixel's centre is never farther than this from any point of the pixel."""


@dataclass(frozen=True)
class Click:
    """A click in the picture that `camera` takes; positive means "this", negative "not this"."""

    x: float
    y: float
    camera: Camera
    positive: bool = True
    name: str = ""

    kind: ClassVar[str] = "click"
    covered_min: ClassVar[float] = COVERED_MIN

    def __str__(self) -> str:
        return self.name or f"({self.x:g}, {self.y:g})"

    def check(self) -> None:
        """Raise `PromptError` when the click is outside the picture."""
        width, height = self.camera.size
        if not (0 <= self.x < width and 0 <= self.y < height):
            raise PromptError(
                f"the click {self} is outside the picture of {width} x {height} pixels; "
                "x counts from the left edge, y from the top"
            )

    def pixels(self, radius_px: float = RADIUS_PX) -> Bool[Tensor, "h w"]:
        """The pixels whose centres are within `radius_px`, at least the one that is clicked."""
        return near_line(self.camera.size, ((self.x, self.y),), max(radius_px, LEAST_RADIUS_PX))


@dataclass(frozen=True)
class Box:
    """A box from corner (x0, y0) to corner (x1, y1) around an object, in the picture that `camera` takes.

    The object is what is inside and unlike what is just outside. Nothing outside of the box's frustum is selected.
    """

    x0: float
    y0: float
    x1: float
    y1: float
    camera: Camera
    positive: bool = True
    name: str = ""

    kind: ClassVar[str] = "box"
    covered_min: ClassVar[float] = AREA_COVERED_MIN

    def __str__(self) -> str:
        return self.name or f"({self.x0:g}, {self.y0:g}) to ({self.x1:g}, {self.y1:g})"

    def check(self) -> None:
        """Raise `PromptError` when the box is empty, turned around, or covers no pixel's centre of the picture."""
        if not (self.x0 < self.x1 and self.y0 < self.y1):
            raise PromptError(
                f"the box {self} is empty; give the left, upper, right and lower edge as x0,y0,x1,y1"
            )
        _check_pixels(self, self.pixels())

    def pixels(self, radius_px: float = RADIUS_PX) -> Bool[Tensor, "h w"]:
        """The pixels whose centres are in the box."""
        del radius_px
        return self.holds(self.camera.pixel_centres())

    def ring(self) -> Bool[Tensor, "h w"]:
        """The pixels just outside: a frame, a fifth of the box's shorter side wide but at least 3 pixels."""
        width = max(RING_PX, RING * min(self.x1 - self.x0, self.y1 - self.y0))
        outer = Box(self.x0 - width, self.y0 - width, self.x1 + width, self.y1 + width, self.camera)
        return outer.pixels() & ~self.pixels()

    def holds(self, points: Float[Tensor, "... 2"]) -> Bool[Tensor, "..."]:
        """Which pixel coordinates are in the box."""
        x, y = points.unbind(-1)
        return (x >= self.x0) & (x < self.x1) & (y >= self.y0) & (y < self.y1)


@dataclass(frozen=True)
class Scribble:
    """A stroke through `points` (x, y) as wide as two radii, in the picture that `camera` takes.

    It says exactly what it covers: what mostly shows there is selected, or with a negative stroke is not.
    """

    points: tuple[tuple[float, float], ...]
    camera: Camera
    radius_px: float = 3.0
    positive: bool = True
    name: str = ""

    kind: ClassVar[str] = "scribble"
    covered_min: ClassVar[float] = AREA_COVERED_MIN

    def __str__(self) -> str:
        if self.name or not self.points:
            return self.name or "without points"
        (x0, y0), (x1, y1) = self.points[0], self.points[-1]
        return f"from ({x0:g}, {y0:g}) to ({x1:g}, {y1:g})"

    def check(self) -> None:
        """Raise `PromptError` when there are no usable points, or the stroke misses the picture."""
        numbers = torch.tensor([*self.points, (self.radius_px, 0.0)])
        if not self.points or not bool(numbers.isfinite().all()) or self.radius_px <= 0:
            raise PromptError(
                f"the scribble {self} has {len(self.points)} points and a radius of {self.radius_px:g} pixels; "
                "give at least one point x,y and a positive radius"
            )
        _check_pixels(self, self.pixels())

    def pixels(self, radius_px: float = RADIUS_PX) -> Bool[Tensor, "h w"]:
        """The pixels whose centres are within the stroke's own radius of it."""
        del radius_px
        return near_line(self.camera.size, self.points, max(self.radius_px, LEAST_RADIUS_PX))


@dataclass(frozen=True, eq=False)
class MaskPrompt:
    """Pixels of the picture that `camera` takes: true where the object is.

    It says exactly what it covers: what mostly shows there is selected. With `whole` the mask shows all of the object
    that this picture shows, and what mostly shows beside it is never selected. A negative mask says what is not the
    object, and nothing about the rest.
    """

    mask: Bool[Tensor, "h w"]
    camera: Camera
    positive: bool = True
    name: str = ""
    whole: bool = True

    kind: ClassVar[str] = "mask"
    covered_min: ClassVar[float] = AREA_COVERED_MIN

    def __str__(self) -> str:
        return self.name or f"of {int(self.mask.sum())} pixels"

    def check(self) -> None:
        """Raise `PromptError` when the mask does not fit the picture or is empty."""
        width, height = self.camera.size
        if tuple(self.mask.shape) != (height, width):
            raise PromptError(
                f"the mask {self} has {' x '.join(map(str, reversed(self.mask.shape)))} pixels and the picture "
                f"{width} x {height}; resize the mask to the picture"
            )
        if not bool(self.mask.any()):
            raise PromptError(f"the mask {self} is empty; give one that is not zero where the object is")

    def pixels(self, radius_px: float = RADIUS_PX) -> Bool[Tensor, "h w"]:
        """The masked pixels."""
        del radius_px
        return self.mask.bool()

    def ring(self) -> Bool[Tensor, "h w"]:
        """The pixels just outside: a band, a fifth of the side of a square of this area wide but at least 3 pixels."""
        mask = self.pixels()
        return grown(mask, round(max(RING_PX, RING * float(mask.sum()) ** 0.5))) & ~mask


@dataclass(frozen=True)
class Text:
    """Words for what is meant; needs features of an extractor with a text tower."""

    phrase: str
    positive: bool = True

    kind: ClassVar[str] = "text"

    def __str__(self) -> str:
        return f"'{self.phrase}'"

    def check(self) -> None:
        """Raise `PromptError` when there are no words."""
        if not self.phrase.strip():
            raise PromptError("the text prompt is empty; say what to select, such as 'red mug'")


PixelPrompt = Click | Box | Scribble | MaskPrompt
Prompt = PixelPrompt | Text


@runtime_checkable
class TextTower(Protocol):
    """An extractor that also understands words: `embed_text` puts phrases among its own features."""

    fingerprint: str
    """That of the extractor, as fields remember it."""

    def embed_text(self, phrases: Sequence[str]) -> Float[Tensor, "t D"]:
        """One vector a phrase, comparable by cosine with the features of images."""
        ...


def covered(prompt: PixelPrompt, weight: float, count: int) -> float:
    """The share of `count` pixels that Gaussians of this weight cover.

    Raises:
        PromptError: too little for this kind of prompt.
    """
    coverage = weight / max(count, 1)
    if coverage < prompt.covered_min:
        raise PromptError(
            f"the {prompt.kind} {prompt} hits nothing: only {coverage:.0%} of it is covered by splats "
            f"(sky, or a hole in the reconstruction); {'click on' if prompt.kind == 'click' else 'mark'} the object"
        )
    return coverage


def _check_pixels(prompt: Box | Scribble, pixels: Bool[Tensor, "h w"]) -> None:
    """Raise `PromptError` when there are none."""
    if not bool(pixels.any()):
        width, height = prompt.camera.size
        raise PromptError(
            f"the {prompt.kind} {prompt} covers no pixel of the picture of {width} x {height} pixels; "
            "x counts from the left edge, y from the top"
        )
