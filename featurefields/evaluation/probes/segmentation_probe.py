"""Semantic segmentation: one output for every class.

Letters: b batch · c classes · hp wp tokens · h w pixels.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from featurefields.evaluation.probes.dense import Tally
from featurefields.evaluation.probes.heads import resized
from featurefields.evaluation.probes.losses import label_loss
from featurefields.evaluation.probes.tallies import ConfusionTally
from featurefields.readers.probe_sets.interface import ProbeSample


@dataclass(frozen=True)
class SegmentationTask:
    """Attributes:
    classes: names of all classes.
    known: which of them training pictures show; pixels of the others do not count, for nobody could learn them.
    """

    classes: tuple[str, ...]
    known: tuple[bool, ...]

    @property
    def outputs(self) -> int:
        return len(self.classes)

    @property
    def cropped(self) -> bool:
        return False

    def has_truth(self, sample: ProbeSample) -> bool:
        return sample.labels is not None

    def truth(self, sample: ProbeSample) -> tuple[Int[Tensor, "h w"], Bool[Tensor, "h w"]]:
        """Labels, valid where there is one of a known class."""
        labels = sample.read_truth("labels")
        learnable = torch.tensor(self.known)[labels.clamp(min=0)]
        return labels, (labels >= 0) & learnable

    def read(self, outputs: Float[Tensor, "b c hp wp"], size: tuple[int, int]) -> Float[Tensor, "b c h w"]:
        return resized(outputs, size)

    def loss(
        self,
        reading: Float[Tensor, "b c h w"],
        truth: Int[Tensor, "b h w"],
        valid: Bool[Tensor, "b h w"],
        *,
        first: bool,
    ) -> Float[Tensor, ""]:
        return label_loss(reading, truth, valid)

    def mirrored(self, truth: Int[Tensor, "h w"]) -> Int[Tensor, "h w"]:
        return truth

    def turned(self, truth: Int[Tensor, "h w"], angle_deg: float) -> Int[Tensor, "h w"]:
        return truth

    def tally(self) -> ConfusionTally:
        return ConfusionTally(self.classes)

    def measure(
        self,
        tally: Tally,
        reading: Float[Tensor, "1 c h w"],
        truth: Int[Tensor, "h w"],
        valid: Bool[Tensor, "h w"],
    ) -> None:
        assert isinstance(tally, ConfusionTally)
        tally.add(reading[0].argmax(0)[valid], truth[valid])


def segmentation_task(samples: tuple[ProbeSample, ...], classes: tuple[str, ...]) -> SegmentationTask:
    """The task for training samples; all of them are looked through for the classes that they show."""
    shown = torch.zeros(len(classes), dtype=torch.bool)
    for sample in samples:
        if sample.labels is not None:
            labels = sample.read_truth("labels").unique()
            shown[labels[labels >= 0]] = True
    return SegmentationTask(classes, tuple(shown.tolist()))
