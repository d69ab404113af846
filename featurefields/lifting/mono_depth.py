"""Geometry of a network that sees one picture at a time, brought to the scene's scale.

Letters: v views · m points · n places · h w pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.errors import FittingError
from featurefields.lifting.alignment import Affine, aligned, front_places
from featurefields.lifting.geometry import Given, PosedPicture, ViewGeometry
from featurefields.lifting.sweep import PlaneSweep
from featurefields.vision.depth_model import load_depth_model

FEWEST = 32
"""Known places that a view is aligned with; with fewer sparse points, the sweep's depths take their place."""
HALVED = 0.05
"""Median relative error of the alignment that halves the confidence."""
MOST = 0.9
"""Confidence of a perfect alignment: one picture alone is never certain."""
SURROUNDINGS = 1.5
"""What is farther than this many times the far end of the scene counts as surroundings."""


@dataclass(frozen=True)
class MonoDepth:
    """Single-picture depth aligned to sparse points, or to a plane sweep; implements `GeometryProvider`.

    Networks give depths or inverse depths up to an unknown affine map, and few say which. Both are tried, and what fits
    the known places of all views better is taken.
    """

    model: Callable[[Float[Tensor, "3 h w"]], Float[Tensor, "h w"]]
    points: Float[Tensor, "m 3"] | None
    name: str = "transformers"

    @torch.no_grad()
    def __call__(
        self, pictures: Sequence[PosedPicture], *, on_view: Callable[[], object] = lambda: None
    ) -> list[ViewGeometry]:
        """Raises `FittingError` when no view can be aligned."""
        known = self._known(pictures)
        values = []
        for picture in pictures:
            values.append(self.model(picture.picture))
            on_view()
        tries = [
            [
                aligned(_at(given(value), place), place.depths)
                for value, place in zip(values, known, strict=True)
            ]
            for given in (_as_it_is, _inverted)
        ]
        errors = [_typical(found) for found in tries]
        if min(errors) == float("inf"):
            raise FittingError(
                "the network's depth fits the scene's points in no view, so its scale is unknown; take another "
                "geometry, or a scene with sparse points"
            )
        best = errors.index(min(errors))
        given = (_as_it_is, _inverted)[best]
        return [
            _placed(given(value), found, picture)
            for value, found, picture in zip(values, tries[best], pictures, strict=True)
        ]

    def _known(self, pictures: Sequence[PosedPicture]) -> "list[_Places]":
        """Places of known depth in every view."""
        places = [_Places.of_points(picture, self.points) for picture in pictures]
        if min(len(place.depths) for place in places) >= FEWEST:
            return places
        swept = PlaneSweep()(pictures)
        return [
            place if len(place.depths) >= FEWEST else _Places.of_depth(geometry.depth)
            for place, geometry in zip(places, swept, strict=True)
        ]


def mono_provider(argument: str, given: Given) -> MonoDepth:
    """The factory behind "transformers:<local folder or hub id of a depth model>"; raises as `load_depth_model`."""
    model = load_depth_model(argument, device=given.device)
    return MonoDepth(model, given.points, f"transformers:{argument}")


@dataclass(frozen=True)
class _Places:
    """Pixels of a view whose depth is known."""

    rows: Tensor
    columns: Tensor
    depths: Float[Tensor, "n"]

    @staticmethod
    def of_points(picture: PosedPicture, points: Float[Tensor, "m 3"] | None) -> "_Places":
        if points is None or len(points) == 0:
            nothing = torch.zeros(0, dtype=torch.long)
            return _Places(nothing, nothing, torch.zeros(0))
        pixels, depths = picture.camera.project(points.to(picture.picture))
        seen = front_places(pixels, depths, picture.camera.size) & (depths <= picture.far)
        columns, rows = pixels[seen].floor().long().unbind(-1)
        return _Places(rows, columns, depths[seen])

    @staticmethod
    def of_depth(depth: Float[Tensor, "h w"]) -> "_Places":
        rows, columns = torch.nonzero(depth > 0, as_tuple=True)
        return _Places(rows, columns, depth[rows, columns])


def _at(values: Float[Tensor, "h w"], places: _Places) -> Float[Tensor, "n"]:
    return values[places.rows, places.columns]


def _as_it_is(values: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    return values


def _inverted(values: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    """Inverse depth of what are depths; what is not positive counts as far away."""
    largest = values.abs().max().clamp(min=1e-6)
    return 1 / values.clamp(min=1e-4 * float(largest))


def _typical(found: Sequence[Affine | None]) -> float:
    """Median error of the views that are aligned the right way round; infinite where none is."""
    errors = sorted(fit.error for fit in found if fit is not None and fit.scale > 0)
    return errors[len(errors) // 2] if errors else float("inf")


def _placed(inverse: Float[Tensor, "h w"], found: Affine | None, picture: PosedPicture) -> ViewGeometry:
    """Depths on the scene's scale; nothing known where the view cannot be aligned."""
    if found is None or found.scale <= 0:
        nothing = torch.zeros_like(inverse)
        return ViewGeometry(nothing, nothing)
    depth = found.depth(inverse, picture.near)
    depth = torch.where(depth <= SURROUNDINGS * picture.far, depth, 0.0)
    confidence = MOST / (1 + found.error / HALVED)
    return ViewGeometry(depth, torch.where(depth > 0, confidence, 0.0))
