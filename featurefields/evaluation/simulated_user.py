"""A user who corrects a selection by clicking where it is most wrong.

Letters: h w pixels of a view.

The user looks at some views in which the truth is known. An error region is a part, connected over the edges of
pixels, of what is missing or of what is too much. The next click goes to the centre of the largest region over all
views: the pixel of it that is farthest from everything outside of it, the border of the picture included. It is
positive where the object is missing and negative where there is too much. Nothing is random: equal regions are taken
in the order of views, missing before too much, then from the top left.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool
from scipy.ndimage import distance_transform_edt, label
from torch import Tensor

from featurefields.errors import PromptError

CLICKS = 8
"""How often the user clicks on one object."""
GOAL = 0.85
"""The user is content from this intersection over union on."""


@dataclass(frozen=True)
class UserView:
    """What is true in a view that the user looks at.

    Attributes:
        name: the view's name.
        truth: where the object is.
        counted: where the truth is known.
    """

    name: str
    truth: Bool[Tensor, "h w"]
    counted: Bool[Tensor, "h w"]


@dataclass(frozen=True)
class UserClick:
    """A click on the middle of pixel (x, y) of a view's camera, (0.5, 0.5) being the middle of the first."""

    view: str
    x: float
    y: float
    positive: bool = True


@dataclass(frozen=True)
class ErrorRegion:
    """A connected part of a view that is wrong, and its centre (x, y), a whole pixel."""

    view: int
    missing: bool
    centre: tuple[int, int]
    pixels: Bool[Tensor, "h w"]


@dataclass(frozen=True)
class Corrections:
    """What a user did to one object.

    Attributes:
        clicks: every click, in order; fewer than the most there may be when nothing was wrong any more.
        ious: intersection over union after each number of clicks, 1 up to the most; NaN where it cannot be measured.
    """

    clicks: tuple[UserClick, ...]
    ious: tuple[float, ...]

    def needed(self, goal: float = GOAL) -> int | None:
        """The number of clicks after which the goal was first reached; None when it never was."""
        return next((number for number, iou in enumerate(self.ious, 1) if iou >= goal), None)


def centre_of(region: Bool[Tensor, "h w"]) -> tuple[int, int]:
    """The pixel (x, y) of a region that is not empty which is farthest from what is outside, border included."""
    inside = np.pad(region.cpu().numpy(), 1)
    depth = distance_transform_edt(inside)[1:-1, 1:-1]  # type: ignore[index]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(x), int(y)


def largest_error(
    shown: Sequence[Bool[Tensor, "h w"]],
    views: Sequence[UserView],
    ignored: Sequence[Bool[Tensor, "h w"]] | None = None,
) -> ErrorRegion | None:
    """The largest region that is wrong in some view; None when nothing is.

    Args:
        shown: the selection as every view shows it.
        views: the truth.
        ignored: pixels of every view that are no errors, whatever is there.
    """
    best, size = None, 0
    for place, (mask, view) in enumerate(zip(shown, views, strict=True)):
        counted = view.counted if ignored is None else view.counted & ~ignored[place]
        for missing in (True, False):
            wrong = (view.truth & ~mask if missing else mask & ~view.truth) & counted
            parts, count = label(wrong.cpu().numpy())  # type: ignore[misc]
            if not count:
                continue
            sizes = np.bincount(parts.ravel())[1:]
            if sizes.max() > size:
                size = int(sizes.max())
                best = place, missing, torch.from_numpy(parts == int(sizes.argmax()) + 1)
    if best is None:
        return None
    place, missing, pixels = best
    return ErrorRegion(place, missing, centre_of(pixels), pixels)


Selected = TypeVar("Selected")


def correct(
    first: UserClick,
    views: Sequence[UserView],
    *,
    select: Callable[[Sequence[UserClick]], Selected],
    shown: Callable[[Selected], Sequence[Bool[Tensor, "h w"]]],
    measure: Callable[[Selected], float],
    most: int = CLICKS,
) -> Corrections:
    """Click first, then on the largest error, `most` times in all or until the user's views show none.

    A click that `select` refuses is spent and changes nothing, and its region is not clicked again. So is a region
    whose centre has been clicked already.

    Args:
        first: the first click, positive.
        views: what the user looks at.
        select: the selection that all clicks so far make; raises `PromptError` when the last one hits nothing.
        shown: the selection in every one of `views`.
        measure: intersection over union where it is judged (the user's views need not be among those).
        most: clicks, at least 1.
    """
    selected: Selected | None = None
    accepted: list[UserClick] = []
    clicks: list[UserClick] = []
    ious: list[float] = []
    ignored = [torch.zeros_like(view.truth) for view in views]
    click, region = first, None
    while True:
        clicks.append(click)
        try:
            selected = select([*accepted, click])
            accepted.append(click)
        except PromptError:
            if region is not None:
                ignored[region.view] |= region.pixels
        ious.append(0.0 if selected is None else measure(selected))
        if len(clicks) == most:
            break
        masks = [torch.zeros_like(view.truth) for view in views] if selected is None else shown(selected)
        region = largest_error(masks, views, ignored)
        while region is not None and (click := _click_on(region, views)) in clicks:
            ignored[region.view] |= region.pixels
            region = largest_error(masks, views, ignored)
        if region is None:
            break
    return Corrections(tuple(clicks), (*ious, *ious[-1:] * (most - len(ious))))


def _click_on(region: ErrorRegion, views: Sequence[UserView]) -> UserClick:
    x, y = region.centre
    return UserClick(views[region.view].name, x + 0.5, y + 0.5, region.missing)
