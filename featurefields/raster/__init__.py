"""Drawing: splats and channels to pixels, and its transpose."""

from featurefields.raster.frozen import FrozenViews
from featurefields.raster.interface import (
    FROZEN_BYTES,
    Contributors,
    FrozenView,
    Raster,
    RasterConfig,
    Rasterizer,
    Visibility,
)
from featurefields.raster.select import BACKENDS, choose_rasterizer

__all__ = [
    "BACKENDS",
    "FROZEN_BYTES",
    "Contributors",
    "FrozenView",
    "FrozenViews",
    "Raster",
    "RasterConfig",
    "Rasterizer",
    "Visibility",
    "choose_rasterizer",
]
