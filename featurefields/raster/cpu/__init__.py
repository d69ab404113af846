"""The CPU backend: numba kernels on 16-lane vectors, no compiler needed at install time."""

from featurefields.raster.cpu.backend import CpuRasterizer

__all__ = ["CpuRasterizer"]
