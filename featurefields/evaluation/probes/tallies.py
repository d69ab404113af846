"""Numbers of many pictures together.

Letters: h w pixels · c classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from featurefields.evaluation.heldout import mean
from featurefields.evaluation.probes.metrics import class_ious, confusion, segmentation_metrics


@dataclass
class PictureMeans:
    """Means over pictures of numbers that are means over a picture's pixels."""

    values: list[Mapping[str, float]] = field(default_factory=list)
    pixels: int = 0

    def add(self, numbers: Mapping[str, float], pixels: int) -> None:
        """Count one picture; one without a pixel does not count."""
        if pixels:
            self.values.append(numbers)
            self.pixels += pixels

    @property
    def pictures(self) -> int:
        return len(self.values)

    def result(self) -> dict[str, float]:
        """Name → mean; nothing without a picture."""
        names = self.values[0] if self.values else {}
        return {name: mean([numbers[name] for numbers in self.values]) for name in names}


@dataclass
class ConfusionTally:
    """One confusion matrix over all pictures."""

    classes: tuple[str, ...]
    counts: Tensor = field(init=False)
    pictures: int = 0

    def __post_init__(self) -> None:
        self.counts = torch.zeros(len(self.classes), len(self.classes), dtype=torch.long)

    def add(self, predicted: Tensor, true: Tensor) -> None:
        """Count the valid pixels of one picture."""
        if true.numel():
            self.counts += confusion(predicted, true, len(self.classes)).cpu()
            self.pictures += 1

    @property
    def pixels(self) -> int:
        return int(self.counts.sum())

    def result(self) -> dict[str, float]:
        """`segmentation_metrics`, and the IoU of every class that occurs as "iou <class>"."""
        ious = zip(self.classes, class_ious(self.counts), strict=True)
        return segmentation_metrics(self.counts) | {f"iou {name}": iou for name, iou in ious if iou == iou}
