"""Depth: expected depth over bins, as AdaBins and the linear probes of DINOv2 read it.

Letters: b batch · k bins · hp wp tokens · h w pixels.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from featurefields.evaluation.probes.dense import Tally
from featurefields.evaluation.probes.heads import BINS, UPSAMPLING, bin_centres, expected_depth, resized
from featurefields.evaluation.probes.losses import gradient_loss, scale_loss, sig_loss
from featurefields.evaluation.probes.metrics import LEAST_DEPTH, depth_metrics
from featurefields.evaluation.probes.tallies import PictureMeans
from featurefields.readers.probe_sets.interface import ProbeSample


@dataclass(frozen=True)
class DepthTask:
    """Attributes:
    least, largest: depths of the first and the last bin (metres).
    within: (least, largest) depth that counts; None for every known one.
    gradient_weight: weight of the gradient loss beside the SigLoss.
    """

    least: float
    largest: float
    within: tuple[float, float] | None = None
    gradient_weight: float = 0.5

    @property
    def outputs(self) -> int:
        return BINS

    @property
    def cropped(self) -> bool:
        return True

    def has_truth(self, sample: ProbeSample) -> bool:
        return sample.depth is not None

    def truth(self, sample: ProbeSample) -> tuple[Float[Tensor, "h w"], Bool[Tensor, "h w"]]:
        """Depth, valid where it is known and within the range that counts."""
        depth = sample.read_truth("depth")
        if self.within is None:
            return depth, depth > 0
        return depth, (depth > self.within[0]) & (depth < self.within[1])

    def read(self, outputs: Float[Tensor, "b k hp wp"], size: tuple[int, int]) -> Float[Tensor, "b h w"]:
        """Outputs four times as large (but not larger than `size`), expected depth, then `size`."""
        rows, columns = outputs.shape[-2:]
        grid = (max(columns, min(UPSAMPLING * columns, size[0])), max(rows, min(UPSAMPLING * rows, size[1])))
        depth = expected_depth(resized(outputs, grid), bin_centres(self.least, self.largest))
        return resized(depth[:, None], size)[:, 0]

    def loss(
        self,
        reading: Float[Tensor, "b h w"],
        truth: Float[Tensor, "b h w"],
        valid: Bool[Tensor, "b h w"],
        *,
        first: bool,
    ) -> Float[Tensor, ""]:
        scale = scale_loss if first else sig_loss
        return scale(reading, truth, valid) + self.gradient_weight * gradient_loss(reading, truth, valid)

    def mirrored(self, truth: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
        return truth

    def turned(self, truth: Float[Tensor, "h w"], angle_deg: float) -> Float[Tensor, "h w"]:
        return truth

    def tally(self) -> PictureMeans:
        return PictureMeans()

    def measure(
        self,
        tally: Tally,
        reading: Float[Tensor, "1 h w"],
        truth: Float[Tensor, "h w"],
        valid: Bool[Tensor, "h w"],
    ) -> None:
        assert isinstance(tally, PictureMeans)
        tally.add(depth_metrics(reading[0][valid], truth[valid]), int(valid.sum()))


def depth_task(samples: tuple[ProbeSample, ...], within: tuple[float, float] | None) -> DepthTask:
    """The task with bins over the range that counts, or over all depths of the training samples."""
    if within is not None:
        return DepthTask(max(within[0], LEAST_DEPTH), within[1], within)
    largest = torch.stack(
        [sample.read_truth("depth").amax() for sample in samples if sample.depth is not None]
    )
    return DepthTask(LEAST_DEPTH, max(float(largest.max()), 2 * LEAST_DEPTH))
