"""The contribution matrix W of one picture: made once, kept while memory allows, made again where it does not.

Letters: t tiles · e entries · h w pixels.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featurefields.raster.cpu.frame import Frame
from featurefields.raster.cpu.kernels import BLOCKS, PIXELS
from featurefields.raster.cpu.weigh import STAGED, weigh_tiles
from featurefields.simd import BATCH

Array = NDArray

CHUNK = 2**15
"""Entries of a chunk: 68 bytes each, so that a chunk that is used at once and dropped stays in cache."""

ENTRY_BYTES = 4 * PIXELS + 4

_scratch = threading.local()


@dataclass(frozen=True)
class Chunk:
    """Entries of tiles first_tile..last_tile-1: ranks (e), weights (e 16), where every block's start (16 t + 1)."""

    first_tile: int
    last_tile: int
    ranks: Array
    weights: Array
    lists: Array


class Contributions:
    """W of a frame, tile by tile.

    Args:
        frame: the prepared geometry.
        budget_bytes: entries are kept up to this size; those of the tiles beyond are made anew in every pass.
    """

    def __init__(self, frame: Frame, budget_bytes: int) -> None:
        self.frame = frame
        width, height = frame.size
        self.alpha = np.empty((height, width), np.float32)
        """Coverage (h w), complete after the first pass."""
        self._budget = budget_bytes // frame.threads
        self._kept: list[list[Chunk]] = [[] for _ in range(frame.threads)]
        self._room = -(-max(16, int(np.diff(frame.starts).max(initial=0))) // 16) * 16

    @property
    def nbytes(self) -> int:
        """Bytes of the entries that are kept."""
        return sum(
            chunk.ranks.nbytes + chunk.weights.nbytes + chunk.lists.nbytes
            for chunks in self._kept
            for chunk in chunks
        )

    def chunks(self, part: int) -> Iterator[Chunk]:
        """The entries of one thread's tiles, in order; a chunk is valid until the next one is asked for."""
        tile, last = int(self.frame.shares[part]), int(self.frame.shares[part + 1])
        kept = self._kept[part]
        for chunk in kept:
            yield chunk
            tile = chunk.last_tile
        used = sum(chunk.ranks.nbytes + chunk.weights.nbytes for chunk in kept)
        while tile < last:
            keep = used < self._budget
            chunk = self._weigh(tile, last, keep)
            if keep:
                kept.append(chunk)
                used += chunk.ranks.nbytes + chunk.weights.nbytes
            yield chunk
            tile = chunk.last_tile

    def _weigh(self, tile: int, last: int, keep: bool) -> Chunk:
        frame, (width, height) = self.frame, self.frame.size
        lists = np.empty((last - tile) * BLOCKS + 1, np.int32)
        staged = np.empty(STAGED * self._room, np.float32)
        entries = CHUNK
        while True:
            ranks, weights = _new_entries(entries) if keep else _scratch_entries(entries)
            reached = weigh_tiles(
                frame.ordered, frame.starts, frame.members, tile, last, frame.tiles_x, frame.camera, width, height,
                staged, ranks, weights, lists, self.alpha,
            )  # fmt: skip
            if reached > tile:
                return Chunk(tile, reached, ranks, weights, lists[: (reached - tile) * BLOCKS + 1])
            entries *= 2


def _new_entries(count: int) -> tuple[Array, Array]:
    # a batch more of weights: kernels read whole batches of entries
    return np.empty(count, np.int32), np.empty((count + BATCH, PIXELS), np.float32)


def _scratch_entries(count: int) -> tuple[Array, Array]:
    """This thread's own entries, used again and again."""
    if getattr(_scratch, "entries", None) is None or len(_scratch.entries[0]) < count:
        _scratch.entries = _new_entries(count)
    return _scratch.entries
