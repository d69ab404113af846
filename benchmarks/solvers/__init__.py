"""Features in closed form against gradient descent of the same model."""

from benchmarks.solvers.command import main

__all__ = ["main"]
