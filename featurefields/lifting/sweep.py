"""Geometry by a plane sweep without anything learned: the baseline, and what works without weights.

Letters: h w pixels · D hypotheses.

Collins 1996: for every depth of a set, pictures are projected onto that plane and compared. Compared are windows by
normalised cross-correlation; the best depth wins, a parabola through its neighbours gives the fraction, and a depth
counts where the other views' depths say the same (the left-right check).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.errors import FittingError
from featurefields.lifting.geometry import Given, PosedPicture, ViewGeometry
from featurefields.lifting.overlap import matching_views
from featurefields.lifting.sweep_cost import agreement, inverse_depths


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """How pictures are matched."""

    hypotheses: int = 128
    """Depths that are tried, even in inverse depth from infinitely far to the near end."""
    sources: int = 4
    """Other views that a view is compared with."""
    window: int = 7
    """Side of the windows that are compared, pixels."""
    aggregate: int = 5
    """Side of the box over which agreement is averaged."""
    tolerance: float = 0.015
    """Depths of two views are the same when they differ by less than this share."""
    least: float = 0.3
    """Correlations below this are no match."""


@dataclass(frozen=True)
class PlaneSweep:
    """Implements `GeometryProvider`."""

    config: SweepConfig = SweepConfig()
    name: str = "sweep"

    @torch.no_grad()
    def __call__(
        self, pictures: Sequence[PosedPicture], *, on_view: Callable[[], object] = lambda: None
    ) -> list[ViewGeometry]:
        """Raises `FittingError` when no two pictures show the same things."""
        sources = sources_of(pictures, self.config.sources)
        found = []
        for picture, others in zip(pictures, sources, strict=True):
            found.append(self._matched(picture, [pictures[other] for other in others]))
            on_view()
        return [self._checked(index, pictures, found, others) for index, others in enumerate(sources)]

    def _matched(self, picture: PosedPicture, sources: Sequence[PosedPicture]) -> ViewGeometry:
        """Best depth of every pixel by itself; confidence is how well it matches."""
        height, width = picture.picture.shape[1:]
        if not sources:
            nothing = picture.picture.new_zeros(height, width)
            return ViewGeometry(nothing, nothing)
        config = self.config
        hypotheses = inverse_depths(picture.near, config.hypotheses).to(picture.picture)
        volume = agreement(picture, sources, hypotheses, window=config.window, aggregate=config.aggregate)
        score, inverse = best_hypothesis(volume, hypotheses)
        known = (inverse > 1 / picture.far) & (score > config.least)
        if picture.mask is not None:
            known &= picture.mask
        confidence = ((score - config.least) / (1 - config.least)).clamp(0, 1)
        return ViewGeometry(
            torch.where(known, 1 / inverse.clamp(min=1e-9), 0.0), torch.where(known, confidence, 0.0)
        )

    def _checked(
        self,
        index: int,
        pictures: Sequence[PosedPicture],
        found: Sequence[ViewGeometry],
        others: Sequence[int],
    ) -> ViewGeometry:
        """The depths that at least one source's depths confirm; the others are not known."""
        own, camera = found[index], pictures[index].camera
        points = camera.unproject(own.depth).reshape(-1, 3)
        confirmed = torch.zeros(len(points), dtype=torch.bool, device=points.device)
        for other in others:
            pixels, depth = pictures[other].camera.project(points)
            theirs = picked(found[other].depth, pixels)
            confirmed |= (depth > 0) & ((theirs - depth).abs() < self.config.tolerance * depth)
        kept = confirmed.view_as(own.depth) & (own.depth > 0)
        return ViewGeometry(torch.where(kept, own.depth, 0.0), torch.where(kept, own.confidence, 0.0))


def sweep_provider(argument: str, given: Given) -> PlaneSweep:
    """The factory behind the name "sweep"."""
    del argument, given
    return PlaneSweep()


def sources_of(pictures: Sequence[PosedPicture], count: int) -> list[tuple[int, ...]]:
    """For every picture the others that it is matched with.

    Raises:
        FittingError: there is one picture, or no two show the same things.
    """
    cameras = [picture.camera for picture in pictures]
    chosen = [
        matching_views(index, cameras, (2 / (1 / picture.near + 1 / picture.far), picture.far), count)
        for index, picture in enumerate(pictures)
    ]
    if not any(chosen):
        raise FittingError(
            f"no two of the {len(pictures)} views show the same things, so nothing tells how far they are; choose "
            "views that overlap"
        )
    return chosen


def best_hypothesis(
    volume: Float[Tensor, "D h w"], hypotheses: Float[Tensor, "D"]
) -> tuple[Float[Tensor, "h w"], Float[Tensor, "h w"]]:
    """Score and value of the best of evenly spaced hypotheses, between them by a parabola through three scores."""
    score, place = volume.max(0)
    inner = place.clamp(1, len(hypotheses) - 2)
    below, middle, above = (volume.gather(0, (inner + step)[None])[0] for step in (-1, 0, 1))
    curvature = (2 * middle - below - above).clamp(min=1e-6)
    offset = torch.where(place == inner, (0.5 * (above - below) / curvature).clamp(-0.5, 0.5), 0.0)
    return score, hypotheses[place] + offset * (hypotheses[1] - hypotheses[0])


def picked(picture: Float[Tensor, "h w"], pixels: Float[Tensor, "n 2"]) -> Float[Tensor, "n"]:
    """The value of the pixel in which each place lies; 0 outside the picture."""
    height, width = picture.shape
    inside = ((pixels >= 0) & (pixels < torch.tensor([width, height]).to(pixels))).all(-1)
    column, row = torch.where(inside[:, None], pixels, 0.0).floor().long().unbind(-1)
    return torch.where(inside, picture[row, column], 0.0)
