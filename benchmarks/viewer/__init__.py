"""The viewer in a real browser: how long pictures and selections take, and whether it can run for hours."""

from benchmarks.viewer.command import main

__all__ = ["main"]
