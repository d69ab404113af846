"""One trained probe of one extractor: every seed of its head."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from featurefields.evaluation.probes.augmentation import AUGMENTATIONS
from featurefields.evaluation.probes.batches import AugmentedBatches, Batches, WindowBatches, grid_truth
from featurefields.evaluation.probes.config import TRUTH_OF, ProbeConfig, Progress
from featurefields.evaluation.probes.dense import DenseTask
from featurefields.evaluation.probes.depth_probe import depth_task
from featurefields.evaluation.probes.heads import LinearHead
from featurefields.evaluation.probes.normal_probe import NormalTask
from featurefields.evaluation.probes.report import TaskResult, by_seed
from featurefields.evaluation.probes.schedule import Schedule, Task, schedule_of
from featurefields.evaluation.probes.segmentation_probe import segmentation_task
from featurefields.evaluation.probes.tokens import token_statistics
from featurefields.evaluation.probes.training import measure_head, train_head
from featurefields.readers.probe_sets.interface import ProbeSample, ProbeSet
from featurefields.vision.cache import FeatureMaps
from featurefields.vision.interface import Extractor


@dataclass(frozen=True)
class TrainedProbe:
    """Attributes:
    name: the task.
    task: what is learned.
    schedule: how.
    train, test: samples with the task's truth.
    maps: tokens of the test samples, and of the training samples unless pictures are augmented.
    """

    name: Task
    task: DenseTask
    schedule: Schedule
    train: tuple[ProbeSample, ...]
    test: tuple[ProbeSample, ...]
    maps: FeatureMaps

    @staticmethod
    def of(
        name: Task, data: ProbeSet, train: Sequence[ProbeSample], maps: FeatureMaps, config: ProbeConfig
    ) -> "TrainedProbe":
        """The probe `name` for the samples that have its truth."""
        kept, test = (
            tuple(sample for sample in samples if getattr(sample, TRUTH_OF[name]) is not None)
            for samples in (train, data.split("test"))
        )
        schedule = schedule_of(config.schedule, name, steps=config.steps)
        task: DenseTask = NormalTask()
        if name == "depth":
            task = depth_task(kept, data.depth_range)
        elif name == "segmentation":
            task = segmentation_task(kept, data.classes)
        return TrainedProbe(name, task, schedule, kept, test, maps)

    def measure(
        self, extractor: Extractor, seeds: Sequence[int], device: torch.device, progress: Progress
    ) -> TaskResult:
        """Train and measure once for every seed."""
        start, steps = time.perf_counter(), self.schedule.length(len(self.train))
        mean, scale = torch.zeros(extractor.dim), 1.0
        if self.schedule.standardised:
            mean, scale = token_statistics(self.maps, [sample.name for sample in self.train])
        truth = [] if self.schedule.augmented else grid_truth(self.task, self.train, self.maps)
        rows, tally = [], self.task.tally()
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            head = LinearHead(
                mean, scale, self.task.outputs, generator=generator, batch_norm=self.schedule.batch_norm
            ).to(device)
            batches: Batches = (
                AugmentedBatches(
                    self.task,
                    self.train,
                    extractor,
                    AUGMENTATIONS[self.name],
                    self.schedule.batch,
                    generator,
                    device,
                )
                if self.schedule.augmented
                else WindowBatches(truth, self.train, self.maps, self.schedule, generator)
            )
            with progress(f"{self.name}, seed {seed}", steps) as advance:
                train_head(
                    head, self.task, batches, self.schedule, steps, on_step=lambda loss: advance(1, loss=loss)
                )
            tally = measure_head(head, self.task, self.test, self.maps)
            rows.append(tally.result())
        counts = {
            "training pictures": len(self.train),
            "training scenes": len({sample.scene for sample in self.train}),
            "steps": steps,
            "pictures": tally.pictures,
            "scenes": len({sample.scene for sample in self.test}),
            "pixels": tally.pixels,
        }
        return TaskResult(self.name, by_seed(rows), counts, time.perf_counter() - start)
