"""Prompts: what a user points at.

Letters: n Gaussians · d feature dimension.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import PromptError
from featurefields.raster import FrozenView

RADIUS_PX = 1.5
"""A click means the pixels within this distance of it."""

COVERED_MIN = 0.5
"""A click on pixels that the Gaussians cover less than this hits nothing."""


@dataclass(frozen=True)
class Click:
    """A click in the picture that `camera` takes; positive means "this", negative "not this".

    Coordinates are continuous: the top left corner is (0, 0) and the first pixel's centre (0.5, 0.5). `name` is how
    messages call the click; its coordinates where there is none.
    """

    x: float
    y: float
    camera: Camera
    positive: bool = True
    name: str = ""

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


@dataclass(frozen=True)
class Hit:
    """What a click shows: every Gaussian's share of the clicked pixels (sums to 1), and how well they are covered."""

    share: Float[Tensor, "n"]
    coverage: float


def hit(view: FrozenView, click: Click, *, radius_px: float = RADIUS_PX) -> Hit:
    """The Gaussians that the clicked pixels really show, by the transpose of drawing in the click's frozen view.

    Raises:
        PromptError: the click is outside the picture, or nothing (sky, a hole) is there.
    """
    click.check()
    centres = click.camera.to(view.alpha).pixel_centres()
    near = (centres - torch.tensor([click.x, click.y]).to(centres)).norm(dim=-1) <= max(radius_px, 0.75)
    weights = view.gather(near[..., None].to(view.alpha))[:, 0]
    total = float(weights.sum())
    coverage = total / max(int(near.sum()), 1)
    if coverage < COVERED_MIN:
        raise PromptError(
            f"the click {click} hits nothing: only {coverage:.0%} of it is covered by splats "
            "(sky, or a hole in the reconstruction); click on the object"
        )
    return Hit(weights / total, coverage)
