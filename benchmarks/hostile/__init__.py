"""Files that nobody should trust: damaged copies of valid files, given to every reader; see docs/robustness.md."""

from benchmarks.hostile.command import main

__all__ = ["main"]
