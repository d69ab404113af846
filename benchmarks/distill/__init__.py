"""Does a backbone gain from splat and distil? Base against distilled, with the ablations, on held-out scenes."""

from benchmarks.distill.command import main

__all__ = ["main"]
