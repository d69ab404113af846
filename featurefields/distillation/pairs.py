"""Which views are looked at together: a target and the contexts that see part of the same.

Letters: v views · s sample points.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import FittingError

GRID = 24
"""Sample points lie on a grid of at most this many rows and columns of pixels."""
AGREES = 0.1
"""A point is seen when its depth differs from the other view's depth map by at most this share."""


@dataclass(frozen=True)
class Pair:
    """Places of a target view and of its contexts."""

    target: int
    contexts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class PairConfig:
    """How pairs are chosen."""

    contexts: int = 2
    """Context views for each target."""
    least: float = 0.3
    """A context sees at least this share of what the target sees."""
    most: float = 0.95
    """And at most this share, so that there is something to learn."""


@torch.no_grad()
def surface_points(camera: Camera, depth: Float[Tensor, "h w"]) -> Float[Tensor, "s 3"]:
    """World points of known depth on a grid of pixels."""
    rows = torch.linspace(0, camera.height - 1, min(GRID, camera.height)).round().long()
    columns = torch.linspace(0, camera.width - 1, min(GRID, camera.width)).round().long()
    known = depth[rows[:, None], columns]
    return camera.unproject(depth)[rows[:, None], columns][known > 0]


@torch.no_grad()
def overlaps(
    cameras: Sequence[Camera],
    points: Sequence[Tensor],
    depths: Sequence[Tensor | None],
) -> Float[Tensor, "v v"]:
    """Entry (i, j): the share of view i's surface points (s 3) that view j sees too; `depths` are maps (h w).

    They lie in its picture and, where j has a depth map that knows, on what it sees there: nothing hides them. 0 for
    views without points.
    """
    shares = torch.zeros(len(cameras), len(cameras))
    for first, own in enumerate(points):
        for second, camera in enumerate(cameras):
            if len(own) and first != second:
                shares[first, second] = float(_seen(own, camera, depths[second]).float().mean())
    shares.fill_diagonal_(1.0)
    return shares


def _seen(points: Float[Tensor, "s 3"], camera: Camera, depth: Float[Tensor, "h w"] | None) -> Tensor:
    xy, far = camera.project(points)
    column, row = xy.nan_to_num(-1.0).clamp(-1, 1e6).floor().long().unbind(-1)
    inside = (far > 0) & (row >= 0) & (column >= 0) & (row < camera.height) & (column < camera.width)
    if depth is None:
        return inside
    there = depth[row.clamp(0, camera.height - 1), column.clamp(0, camera.width - 1)]
    return inside & ((there <= 0) | ((there - far).abs() <= AGREES * there))


class PairSampler:
    """Random pairs of all scenes; which one comes at a step depends on the seed and its number alone."""

    def __init__(self, scenes: Sequence[Float[Tensor, "v v"]], config: PairConfig = PairConfig()) -> None:
        """`scenes`: the overlaps of each scene's views; places count through all scenes.

        Raises:
            FittingError: there is no target with enough contexts.
        """
        self._config = config
        self._candidates: dict[int, list[int]] = {}
        start = 0
        for shares in scenes:
            for target, row in enumerate(shares):
                fits = (row >= config.least) & (row <= config.most)
                fits[target] = False
                found = torch.nonzero(fits).flatten().tolist()
                if len(found) >= config.contexts:
                    self._candidates[start + target] = [start + place for place in found]
            start += len(shares)
        self.targets = sorted(self._candidates)
        if not self.targets:
            raise FittingError(
                f"no view has {config.contexts} others that see {config.least:g} to {config.most:g} of what it sees; "
                "widen the range (--overlap), or give more views"
            )

    def pair(self, seed: int, number: int) -> Pair:
        """Pair `number` of an endless sequence: targets evenly, contexts evenly among those that overlap."""
        generator = torch.Generator().manual_seed(mixed(seed, number))
        target = self.targets[int(torch.randint(len(self.targets), (), generator=generator))]
        candidates = self._candidates[target]
        order = torch.randperm(len(candidates), generator=generator)[: self._config.contexts]
        return Pair(target, tuple(candidates[place] for place in order.tolist()))


def mixed(*numbers: int) -> int:
    """One seed out of several numbers (63 bits), so that neighbouring ones have nothing in common."""
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        state = ((state ^ (number & 0xFFFFFFFFFFFFFFFF)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state >> 1
