"""Training a head, and measuring it on pictures of scenes that it never saw.

Letters: b batch.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from featurefields.errors import FittingError
from featurefields.evaluation.probes.batches import Batch, Batches
from featurefields.evaluation.probes.dense import DenseTask, Tally
from featurefields.evaluation.probes.heads import LinearHead
from featurefields.evaluation.probes.schedule import Schedule
from featurefields.evaluation.probes.tokens import tokens_of
from featurefields.readers.probe_sets.interface import ProbeSample
from featurefields.vision.cache import FeatureMaps


def train_head(
    head: LinearHead,
    task: DenseTask,
    batches: Batches,
    schedule: Schedule,
    steps: int,
    *,
    on_step: Callable[[float], object] = lambda loss: None,
) -> None:
    """AdamW on the head for so many steps; a batch without a valid pixel is passed over.

    Raises:
        FittingError: the loss is not finite.
    """
    device = head.project.weight.device
    rate = schedule.rate_for(head.project.in_channels)
    optimiser = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=schedule.weight_decay)
    course = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate_at(schedule, step / steps))
    head.train()
    for step in range(steps):
        batch = batches.draw()
        if bool(batch.valid.any()):
            loss = _loss(head, task, batch, device, first=step < schedule.scale_steps)
            optimiser.zero_grad()
            loss.backward()
            if schedule.clip is not None:
                torch.nn.utils.clip_grad_norm_(head.parameters(), schedule.clip)
            value = float(loss.detach())
            if not math.isfinite(value):
                raise FittingError(
                    f"the loss of a probe is {value} at step {step}; its truth may hold values that are not finite, or "
                    "the learning rate is too high"
                )
            optimiser.step()
            on_step(value)
        course.step()
    head.eval()


def rate_at(schedule: Schedule, progress: float) -> float:
    """Share of the learning rate when this share of the steps is done."""
    if progress < schedule.warmup:
        return max(progress / schedule.warmup, 1e-3)
    rest = (progress - schedule.warmup) / (1 - schedule.warmup)
    return {
        "cosine": 0.5 + 0.5 * math.cos(math.pi * rest),
        "quarter": math.cos(0.5 * math.pi * rest),
        "linear": 1 - rest,
    }[schedule.decay]


def _loss(head: LinearHead, task: DenseTask, batch: Batch, device: torch.device, *, first: bool) -> Tensor:
    tokens = batch.tokens.to(device).contiguous(
        memory_format=torch.channels_last
    )  # much faster on processors
    reading = task.read(head(tokens), batch.read_size)
    if batch.margin:
        reading = reading[..., batch.margin : -batch.margin, batch.margin : -batch.margin]
    return task.loss(reading, batch.truth.to(device), batch.valid.to(device), first=first)


@torch.no_grad()
def measure_head(
    head: LinearHead,
    task: DenseTask,
    samples: Sequence[ProbeSample],
    maps: FeatureMaps,
    *,
    on_sample: Callable[[], object] = lambda: None,
) -> Tally:
    """Numbers at every pixel that counts; depth inside the samples' crops."""
    device, tally = head.project.weight.device, task.tally()
    for sample in samples:
        truth, valid = task.truth(sample)
        valid = valid & sample.looked_at() if task.cropped else valid
        outputs = head(tokens_of(maps, sample.name)[None].to(device))
        task.measure(tally, task.read(outputs, sample.size).cpu(), truth, valid)
        on_sample()
    return tally
