"""Drawing: splats and channels to pixels, and its transpose."""

from featurefields.raster.interface import Raster, RasterConfig, Rasterizer
from featurefields.raster.select import BACKENDS, choose_rasterizer

__all__ = ["BACKENDS", "Raster", "RasterConfig", "Rasterizer", "choose_rasterizer"]
