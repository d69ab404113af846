"""Speed of drawing: the CPU rasterizer against everything that can do the same work here."""

from benchmarks.raster.command import main

__all__ = ["main"]
