"""What is probed and how, and what data allow."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from featurefields.errors import FittingError, SceneError
from featurefields.evaluation.probes.correspondence import OFFICIAL, MatchingConfig
from featurefields.evaluation.probes.schedule import TASKS, TRAINED, Name, Task
from featurefields.readers.probe_sets.interface import ProbeSample, ProbeSet, Split

TRUTH_OF: dict[Task, Literal["depth", "normal", "labels"]] = {
    "depth": "depth",
    "normals": "normal",
    "segmentation": "labels",
    "correspondence": "depth",
}
"""Which truth of its samples a task needs."""
FAST_PICTURES = 1000
"""Training pictures that the fast schedule looks at."""


@runtime_checkable
class Advance(Protocol):
    """Tells a progress bar that `n` more steps are done."""

    def __call__(self, n: int = 1, **info: object) -> None: ...


Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""(title, number of steps) → a context that gives an `Advance`."""


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """What is probed and how.

    Attributes:
        tasks: which probes; empty for all that the data have truth for.
        schedule: "fast" (minutes on a processor) or "official" (as published).
        steps: training steps instead of the schedule's.
        seeds: what is random, one run each: weights, order and windows of trained probes, points that are matched.
        class_token: read the class token beside the patches for depth and normals, where the backbone has one.
        train_pictures: at most so many training pictures, evenly spread by name; None for all (fast: 1000).
        matching: how views are matched; None for that of the schedule.
        cache: folder that keeps tokens; None for a temporary one, which a backbone in training must have.
    """

    tasks: tuple[Task, ...] = ()
    schedule: Name = "fast"
    steps: int | None = None
    seeds: tuple[int, ...] = (0, 1, 2)
    class_token: bool = True
    train_pictures: int | None = None
    matching: MatchingConfig | None = None
    cache: Path | None = None

    def check(self) -> None:
        """Raise `FittingError` for numbers that make no sense."""
        for name, value in (("steps", self.steps), ("training pictures", self.train_pictures)):
            if value is not None and value < 1:
                raise FittingError(f"probes need at least 1 of their {name}, not {value}")
        if not self.seeds:
            raise FittingError("probes need at least one seed")

    def training(self, data: ProbeSet) -> tuple[ProbeSample, ...]:
        """The training samples that are looked at."""
        samples = data.split("train")
        most = self.train_pictures or (FAST_PICTURES if self.schedule == "fast" else len(samples))
        if len(samples) <= most:
            return samples
        return tuple(samples[place * len(samples) // most] for place in range(most))

    def matched_how(self) -> MatchingConfig:
        """`matching`, or that of the schedule."""
        return self.matching or (MatchingConfig() if self.schedule == "fast" else OFFICIAL)


def possible_tasks(data: ProbeSet, asked: tuple[Task, ...]) -> tuple[tuple[Task, ...], tuple[str, ...]]:
    """The tasks that can be measured (of all, when none is asked for), and a line for each that cannot.

    Raises:
        SceneError: one that was asked for cannot, or none can.
    """
    reasons: dict[Task, str] = {task: why for task in asked or TASKS if (why := _why_not(data, task))}
    if asked and reasons:
        task, why = next(iter(reasons.items()))
        raise SceneError(
            f"{data.name} cannot be probed for {task}: {why}; leave that task out or give other data"
        )
    tasks: tuple[Task, ...] = tuple(task for task in asked or TASKS if task not in reasons)
    if not tasks:
        said = "; ".join(f"{task}: {why}" for task, why in reasons.items())
        raise SceneError(f"{data.name} cannot be probed: {said}")
    return tasks, tuple(f"{task} is not probed: {why}" for task, why in reasons.items())


def _why_not(data: ProbeSet, task: Task) -> str:
    """Why a task cannot be measured; "" when it can."""
    truth, sides = TRUTH_OF[task], {"train": "training", "test": "held-out"}
    needed: tuple[Split, ...] = ("train", "test") if task in TRAINED else ("test",)
    for side in needed:
        if not any(getattr(sample, truth) is not None for sample in data.split(side)):
            return f"no {sides[side]} picture has {truth}"
    if task == "segmentation" and len(data.classes) < 2:
        return "there are fewer than two classes"
    if task == "correspondence" and not any(sample.camera is not None for sample in data.split("test")):
        return "no held-out picture has a camera"
    return ""
