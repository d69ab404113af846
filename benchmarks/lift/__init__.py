"""Feed-forward lifting: depth, novel views, features, time and memory, source of geometry by source."""

from benchmarks.lift.command import main

__all__ = ["main"]
