"""What a head sees in a step: windows of kept tokens, or augmented pictures through the backbone.

Letters: b batch · d token dimension · hp wp tokens · H W pixels of the truth.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn.functional import pad

from featurefields.evaluation.probes.augmentation import Augmentation, augmented
from featurefields.evaluation.probes.dense import DenseTask
from featurefields.evaluation.probes.heads import UPSAMPLING
from featurefields.evaluation.probes.schedule import Schedule
from featurefields.evaluation.probes.tokens import tokens_of
from featurefields.readers.probe_sets.interface import ProbeSample
from featurefields.readers.probe_sets.pixels import nearest
from featurefields.vision.cache import FeatureMaps
from featurefields.vision.interface import Extractor


@dataclass(frozen=True)
class Batch:
    """Attributes:
    tokens: (b d hp wp).
    truth: (b H W …).
    valid: (b H W), True where truth counts.
    margin: pixels at every border of a reading that are not compared: truth is smaller by them.
    """

    tokens: Tensor
    truth: Tensor
    valid: Tensor
    margin: int = 0

    @property
    def read_size(self) -> tuple[int, int]:
        """(width, height) of the reading that is compared."""
        return self.valid.shape[2] + 2 * self.margin, self.valid.shape[1] + 2 * self.margin


@runtime_checkable
class Batches(Protocol):
    """Makes batches; the same generator state makes the same ones."""

    def draw(self) -> Batch:
        """The next batch."""
        ...


class WindowBatches:
    """Random windows of tokens that are kept; truth is taken at four pixels for every token along each side.

    Every window has one token more on each side, and what upsampling makes of those is not compared: windows read
    exactly what whole pictures read.
    """

    def __init__(
        self,
        truth: Sequence[tuple[Tensor, Tensor]],
        samples: Sequence[ProbeSample],
        maps: FeatureMaps,
        schedule: Schedule,
        generator: torch.Generator,
    ) -> None:
        """Windows of the samples, whose truth is that of `grid_truth`."""
        self._order = shuffled(len(samples), generator)
        self._generator, self._batch = generator, schedule.batch
        self._maps, self._names = maps, [sample.name for sample in samples]
        grids = [maps[name].grid for name in self._names]
        self._truth = truth
        window = schedule.window or 1 << 30
        self._columns = min(window, *(columns for columns, _ in grids))
        self._rows = min(window, *(rows for _, rows in grids))

    def draw(self) -> Batch:
        """Windows of `batch` pictures, in the order of a shuffled pass through all of them."""
        parts = [self._window(next(self._order)) for _ in range(self._batch)]
        tokens, truth, valid = (torch.stack(part) for part in zip(*parts, strict=True))
        return Batch(tokens, truth, valid, margin=UPSAMPLING)

    def _window(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        tokens, (truth, valid) = tokens_of(self._maps, self._names[index]), self._truth[index]
        place = torch.rand(2, generator=self._generator).tolist()
        row = int(place[0] * (tokens.shape[1] - self._rows + 1))
        column = int(place[1] * (tokens.shape[2] - self._columns + 1))
        padded = pad(tokens[None], (1, 1, 1, 1), mode="replicate")[0]
        cut = padded[:, row : row + self._rows + 2, column : column + self._columns + 2]
        down = slice(UPSAMPLING * row, UPSAMPLING * (row + self._rows))
        across = slice(UPSAMPLING * column, UPSAMPLING * (column + self._columns))
        return cut, truth[down, across], valid[down, across]


class AugmentedBatches:
    """Pictures augmented anew in every step, their tokens made by the backbone."""

    def __init__(
        self,
        task: DenseTask,
        samples: Sequence[ProbeSample],
        extractor: Extractor,
        augmentation: Augmentation,
        batch: int,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self._task, self._samples, self._extractor = task, samples, extractor
        self._augmentation, self._batch = augmentation, batch
        self._generator, self._device = generator, device
        self._order = shuffled(len(samples), generator)
        smallest = min(sample.size[0] for sample in samples), min(sample.size[1] for sample in samples)
        self._size = augmentation.cut_size(smallest)

    def draw(self) -> Batch:
        """`batch` pictures, in the order of a shuffled pass through all of them."""
        parts = [
            augmented(
                self._samples[next(self._order)], self._task, self._augmentation, self._size, self._generator
            )
            for _ in range(self._batch)
        ]
        images, truth, valid = (torch.stack(part) for part in zip(*parts, strict=True))
        tokens = self._extractor(images.movedim(-1, 1).to(self._device))
        return Batch(tokens, truth, valid)


def shuffled(count: int, generator: torch.Generator) -> Iterator[int]:
    """Numbers below `count` for ever, each once before any comes again."""
    while True:
        yield from torch.randperm(count, generator=generator).tolist()


def grid_truth(
    task: DenseTask, samples: Sequence[ProbeSample], maps: FeatureMaps
) -> list[tuple[Tensor, Tensor]]:
    """Truth and validity of every sample at four by four cells a token."""
    return [_at_grid(task, sample, maps[sample.name].grid) for sample in samples]


def _at_grid(task: DenseTask, sample: ProbeSample, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Truth and validity at the centres of four by four cells for each token of `grid` = (columns, rows)."""
    truth, valid = task.truth(sample)
    size = UPSAMPLING * grid[0], UPSAMPLING * grid[1]
    return nearest(truth, size), nearest(valid, size)
