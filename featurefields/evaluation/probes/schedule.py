"""How long and how probes are trained: minutes on a processor, or as published.

The published schedules: depth and segmentation are the linear probes of DINOv2 (Oquab et al. 2024), normals those of
Probe3D (El Banani et al. 2024).
"""

from dataclasses import dataclass, replace
from math import sqrt
from typing import Literal

from featurefields.errors import FittingError

DIMENSIONS = 256
"""Dimensions of the tokens for which the fast schedule's learning rate is stated."""
Name = Literal["fast", "official"]
Task = Literal["depth", "normals", "segmentation", "correspondence"]
TRAINED: tuple[Task, ...] = ("depth", "normals", "segmentation")
TASKS: tuple[Task, ...] = (*TRAINED, "correspondence")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How one head is trained.

    Attributes:
        steps: steps of AdamW, when `epochs` is None.
        epochs: passes over the training pictures instead.
        batch: pictures, or windows of them, in a step.
        learning_rate: at its height.
        weight_decay: of AdamW.
        warmup: share of the steps in which the rate rises linearly.
        decay: how it falls afterwards: half a cosine period, a quarter of one, or linearly; all to 0.
        window: side in tokens of random windows that are trained on; None for whole pictures.
        augmented: turn, flip, crop and recolour pictures anew in every step, and run the backbone on them.
        standardised: centre tokens and divide them by their deviation, one number for all channels; the learning rate
            is then that for tokens of `DIMENSIONS`, and falls with the root of how many there are.
        batch_norm: learn a batch normalisation in front of the convolution.
        clip: largest norm of the gradient.
        scale_steps: first steps of depth, in which only the common scale is learned.
    """

    steps: int
    epochs: float | None = None
    batch: int
    learning_rate: float
    weight_decay: float = 0.0
    warmup: float = 0.0
    decay: Literal["cosine", "quarter", "linear"] = "cosine"
    window: int | None = None
    augmented: bool = False
    standardised: bool = True
    batch_norm: bool = False
    clip: float | None = None
    scale_steps: int = 0

    def rate_for(self, dim: int) -> float:
        """The learning rate for tokens of so many dimensions."""
        return self.learning_rate * sqrt(DIMENSIONS / dim) if self.standardised else self.learning_rate

    def length(self, pictures: int) -> int:
        """Steps for so many training pictures."""
        if self.epochs is None:
            return self.steps
        return max(1, round(self.epochs * pictures / self.batch))


_FAST = Schedule(steps=400, batch=8, learning_rate=3e-3, weight_decay=1e-4, warmup=0.05, window=8)
_OFFICIAL: dict[Task, Schedule] = {
    "depth": Schedule(
        steps=38_400, batch=16, learning_rate=1e-4, weight_decay=0.01, warmup=1 / 3, augmented=True, standardised=False,
        clip=35.0, scale_steps=100,
    ),
    "normals": Schedule(
        steps=0, epochs=10.0, batch=8, learning_rate=5e-4, weight_decay=0.01, warmup=0.15, decay="quarter",
        augmented=True, standardised=False,
    ),
    "segmentation": Schedule(
        steps=40_000, batch=16, learning_rate=1e-3, weight_decay=1e-4, warmup=0.0375, decay="linear", augmented=True,
        standardised=False, batch_norm=True,
    ),
}  # fmt: skip


def schedule_of(name: Name, task: Task, *, steps: int | None = None) -> Schedule:
    """The schedule called `name` for a task; `steps` replaces its length.

    Raises:
        FittingError: `steps` is not positive.
    """
    found = _FAST if name == "fast" else _OFFICIAL[task]
    if steps is None:
        return found
    if steps < 1:
        raise FittingError(f"probes are trained for at least 1 step, not {steps}")
    return replace(found, steps=steps, epochs=None)
