"""The contribution matrix W of one picture: made once, kept while memory allows, made again where it does not.

Letters: t tiles · e entries · h w pixels.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from featurefields.raster.cpu.frame import Frame
from featurefields.raster.cpu.kernels import BLOCKS, PIXELS
from featurefields.raster.cpu.weigh import STAGED, weigh_tiles
from featurefields.simd import BATCH
from featurefields.threads import run_parallel

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

    @property
    def entries(self) -> tuple[Array, Array, Array]:
        """What kernels take first: ranks, weights, lists."""
        return self.ranks, self.weights, self.lists

    @property
    def nbytes(self) -> int:
        return self.ranks.nbytes + self.weights.nbytes + self.lists.nbytes

    def trimmed(self) -> "Chunk":
        """The chunk without memory to spare: a copy of its entries where a quarter or more of their room is empty."""
        used = int(self.lists[-1])
        if used > 0.75 * len(self.ranks):
            return self
        return replace(
            self,
            ranks=self.ranks[:used].copy(),
            weights=self.weights[: used + BATCH].copy(),
            lists=self.lists.copy(),
        )


class Contributions:
    """W of a frame, tile by tile.

    Args:
        frame: the prepared geometry.
        budget_bytes: what is kept in all, the frame included; entries of the tiles beyond are made anew in every pass.
    """

    def __init__(self, frame: Frame, budget_bytes: int) -> None:
        self.frame = frame
        width, height = frame.size
        self.alpha = np.empty((height, width), np.float32)
        """Coverage (h w), complete after the first pass."""
        self._budget = (budget_bytes - self.fixed_nbytes) // frame.threads
        self._kept: list[list[Chunk]] = [[] for _ in range(frame.threads)]
        self._full = [self._budget <= 0] * frame.threads
        self._room = -(-max(16, int(np.diff(frame.starts).max(initial=0))) // 16) * 16

    @property
    def nbytes(self) -> int:
        """Bytes of the entries that are kept."""
        return sum(chunk.nbytes for chunks in self._kept for chunk in chunks)

    @property
    def fixed_nbytes(self) -> int:
        """Bytes of what has to be kept: the frame and the coverage."""
        return self.frame.nbytes + self.alpha.nbytes

    def complete(self) -> None:
        """Make everything that is kept, and the coverage; afterwards several passes may run at the same time."""
        run_parallel(lambda part: deque(self.chunks(part), maxlen=0), self.frame.threads)

    def chunks(self, part: int) -> Iterator[Chunk]:
        """The entries of one thread's tiles, in order; a chunk is valid until the next one is asked for."""
        tile, last = int(self.frame.shares[part]), int(self.frame.shares[part + 1])
        kept = self._kept[part]
        used = 0
        for chunk in tuple(kept):
            yield chunk
            tile, used = chunk.last_tile, used + chunk.nbytes
        while tile < last:
            keep = not self._full[part]
            chunk = self._weigh(tile, last, _new_entries if keep else _scratch_entries)
            if keep:
                chunk = chunk.trimmed()
                if used + chunk.nbytes <= self._budget:
                    kept.append(chunk)
                    used += chunk.nbytes
                else:
                    self._full[part] = True
            yield chunk
            tile = chunk.last_tile

    def _weigh(self, tile: int, last: int, room_for: Callable[[int], tuple[Array, Array]]) -> Chunk:
        frame, (width, height) = self.frame, self.frame.size
        staged = np.empty(STAGED * self._room, np.float32)
        lists = np.empty((last - tile) * BLOCKS + 1, np.int32)
        entries = CHUNK
        while True:
            ranks, weights = room_for(entries)
            reached = weigh_tiles(
                frame.ordered, frame.starts, frame.members, tile, last, frame.tiles_x, frame.camera, width, height,
                staged, ranks, weights, lists, self.alpha,
            )  # fmt: skip
            if reached > tile:
                return Chunk(tile, reached, ranks, weights, lists[: (reached - tile) * BLOCKS + 1])
            entries *= 2


def _new_entries(count: int) -> tuple[Array, Array]:
    """Ranks and weights; a batch more of weights, because kernels read whole batches of entries."""
    return np.empty(count, np.int32), np.empty((count + BATCH, PIXELS), np.float32)


def _scratch_entries(count: int) -> tuple[Array, Array]:
    """The same, in memory that this thread uses again and again."""
    if getattr(_scratch, "entries", None) is None or len(_scratch.entries[0]) < count:
        _scratch.entries = _new_entries(count)
    return _scratch.entries
