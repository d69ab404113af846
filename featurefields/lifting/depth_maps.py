"""Geometry from the depth maps that come with the photos.

Letters: h w pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from featurefields.errors import FittingError
from featurefields.lifting.geometry import Given, PosedPicture, ViewGeometry


@dataclass(frozen=True)
class DepthMaps:
    """Depth maps of the data set (`depth_file_path`, `depth_unit_scale_factor`); implements `GeometryProvider`.

    What is measured is trusted, whatever the near and far ends of the scene are said to be.
    """

    name: str = "data"

    def __call__(
        self, pictures: Sequence[PosedPicture], *, on_view: Callable[[], object] = lambda: None
    ) -> list[ViewGeometry]:
        """Raises `FittingError` when a view has no depth map."""
        found = []
        for picture in pictures:
            depth = picture.measured()
            if depth is None:
                raise FittingError(
                    f"view {picture.name} has no depth map (depth_file_path); take another geometry than 'data', or "
                    "views that have one"
                )
            found.append(ViewGeometry(depth, (depth > 0).to(depth.dtype)))
            on_view()
        return found


def depth_map_provider(argument: str, given: Given) -> DepthMaps:
    """The factory behind the name "data"."""
    del argument, given
    return DepthMaps()
