"""Views with their geometry held fixed, for any backend and for many cameras.

Letters: n Gaussians · c channels · h w pixels · k contributors.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.raster.interface import (
    FROZEN_BYTES,
    Contributors,
    FrozenView,
    RasterConfig,
    Rasterizer,
    Visibility,
)
from featurefields.raster.reference import strongest, visibility
from featurefields.splats import Splats


class RedrawnView:
    """A `FrozenView` of a backend that keeps nothing: everything is drawn again when asked for."""

    def __init__(self, rasterizer: Rasterizer, splats: Splats, camera: Camera, config: RasterConfig) -> None:
        self._rasterizer, self._splats = rasterizer, splats.detach()
        self._camera, self._config = camera, config
        blank = self._splats.means.new_zeros(len(splats), 1)
        self.alpha = rasterizer.draw(self._splats, blank, camera, config).alpha
        self.nbytes = self.alpha.nbytes

    def draw(self, channels: Float[Tensor, "n c"]) -> Float[Tensor, "h w c"]:
        return self._rasterizer.draw(self._splats, channels, self._camera, self._config).image

    def gather(self, maps: Float[Tensor, "h w c"]) -> Float[Tensor, "n c"]:
        return self._rasterizer.gather(self._splats, maps, self._camera, self._config)

    def contributors(self, count: int = 1) -> Contributors:
        return strongest(self._splats, self._camera, self._config, count)

    def visibility(self) -> Visibility:
        return visibility(self._splats, self._camera, self._config)


class FrozenViews(Sequence[FrozenView]):
    """Frozen views of many cameras under one memory budget.

    A view is made when it is first asked for and kept as long as all kept ones fit in `budget_bytes`; later views are
    made anew each time. Going round the cameras again and again then costs nothing for those that fit, where throwing
    out the oldest would keep none of them.

    A view that is not kept calculates its contributions in every product, unless `passing_bytes`, which come on top of
    the budget, hold them while it is in use: worth it for whoever draws and gathers with each view in turn.
    """

    def __init__(
        self,
        rasterizer: Rasterizer,
        splats: Splats,
        cameras: Sequence[Camera],
        config: RasterConfig = RasterConfig(),
        *,
        budget_bytes: int = FROZEN_BYTES,
        passing_bytes: int = 0,
    ) -> None:
        self._rasterizer, self._splats, self._config = rasterizer, splats.detach(), config
        self._cameras, self._budget, self._passing = cameras, budget_bytes, passing_bytes
        self._kept: dict[int, FrozenView] = {}

    def __len__(self) -> int:
        return len(self._cameras)

    def __getitem__(self, index: int) -> FrozenView:  # type: ignore[override]
        index = range(len(self))[index]
        if index in self._kept:
            return self._kept[index]
        left = self._budget - self.nbytes
        camera = self._cameras[index]
        room = max(left, self._passing, 0)
        view = self._rasterizer.freeze(self._splats, camera, self._config, budget_bytes=room)
        if view.nbytes <= left:
            self._kept[index] = view
        return view

    @property
    def nbytes(self) -> int:
        """Bytes of the views that are kept."""
        return sum(view.nbytes for view in self._kept.values())
