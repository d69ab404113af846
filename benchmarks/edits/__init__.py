"""Removing reflections from one object: our fields, their baked splats and ordinary splats, against ground truth."""

from benchmarks.edits.command import main

__all__ = ["main"]
