"""What probes of one extractor found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import stdev

from featurefields.evaluation.heldout import mean
from featurefields.evaluation.probes.schedule import Task

HEADLINES: Mapping[Task, tuple[str, ...]] = {
    "depth": ("rmse", "abs_rel", "delta1", "delta2", "delta3", "silog", "rmse_scaled"),
    "normals": ("rmse", "mean", "within_11.25", "within_22.5", "within_30"),
    "segmentation": ("miou", "accuracy", "mean_accuracy"),
    "correspondence": ("recall 5px", "recall 10px", "recall 20px"),
}
"""The numbers of a task that tables show; the others are in the JSON."""


@dataclass(frozen=True)
class TaskResult:
    """Numbers of one task.

    Attributes:
        task: what was probed.
        numbers: name → one value for every seed.
        counts: what they rest on: pictures, pixels, scenes, pairs …
        seconds: how long it took, all seeds together.
    """

    task: Task
    numbers: Mapping[str, tuple[float, ...]]
    counts: Mapping[str, int]
    seconds: float

    def mean(self, name: str) -> float:
        """Mean over the seeds; NaN for a number that was not found."""
        return mean(self.numbers.get(name, ()))

    def spread(self, name: str) -> float:
        """Standard deviation over the seeds; 0 with one seed."""
        values = [value for value in self.numbers.get(name, ()) if value == value]
        return stdev(values) if len(values) > 1 else 0.0

    def as_json(self) -> dict[str, object]:
        """Every number as {mean, spread, seeds}, the counts and the time."""
        numbers = {
            name: {"mean": self.mean(name), "spread": self.spread(name), "seeds": list(values)}
            for name, values in self.numbers.items()
        }
        return {"numbers": numbers, "counts": dict(self.counts), "seconds": round(self.seconds, 2)}


@dataclass(frozen=True)
class ProbeReport:
    """Every task of one extractor.

    Attributes:
        extractor: its fingerprint.
        data: name of the set.
        schedule: "fast" or "official".
        seeds: what was random.
        results: one a task, in the order in which they were asked for.
        notes: what cannot be measured and why, one line each.
    """

    extractor: str
    data: str
    schedule: str
    seeds: tuple[int, ...]
    results: tuple[TaskResult, ...]
    notes: tuple[str, ...] = field(default=())

    def result(self, task: Task) -> TaskResult | None:
        """The numbers of a task; None when it was not measured."""
        return next((found for found in self.results if found.task == task), None)

    def value(self, task: Task, number: str) -> float:
        """Mean over the seeds of one number; NaN when it was not measured."""
        found = self.result(task)
        return float("nan") if found is None else found.mean(number)

    def as_json(self) -> dict[str, object]:
        return {
            "extractor": self.extractor,
            "data": self.data,
            "schedule": self.schedule,
            "seeds": list(self.seeds),
            "tasks": {found.task: found.as_json() for found in self.results},
            "notes": list(self.notes),
        }


def by_seed(rows: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, ...]]:
    """Name → values, from one mapping for every seed; a name that a seed lacks is NaN there."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: tuple(row.get(name, float("nan")) for row in rows) for name in names}
