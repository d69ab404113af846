"""What a race comes to: who was within the share when, and tables."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.solvers.race import Goal, Point, Run

GOAL = 10.0
"""Gradient descent is to take so many times as long as the closed form."""


@dataclass(frozen=True)
class Verdict:
    """Closed form against the best of all descents.

    Attributes:
        what: what had to be reached.
        closed, sgd: where each first was there; for the descent, where its longest run gave up if none got there.
        reached: whether any descent got there.
        by: its name.
    """

    what: str
    closed: Point
    sgd: Point
    reached: bool
    by: str

    @property
    def ratios(self) -> tuple[float, float]:
        """Seconds of descent over seconds of the closed form, by the wall and by the processors."""
        slow, fast = self.sgd.seconds, self.closed.seconds
        return slow.wall / fast.wall, slow.cpu / fast.cpu

    @property
    def met(self) -> bool:
        return min(self.ratios) >= GOAL

    def as_json(self) -> dict[str, Any]:
        wall, cpu = self.ratios
        return {
            "what": self.what, "closed form s": self.closed.seconds.wall, "closed form steps": self.closed.step,
            "sgd s": self.sgd.seconds.wall, "sgd epochs": self.sgd.step, "sgd reached it": self.reached,
            "sgd": self.by, "ratio": wall, "ratio of processor seconds": cpu, "goal": GOAL, "met": self.met,
        }  # fmt: skip


def verdicts(runs: Sequence[Run], goal: Goal) -> list[Verdict]:
    """By the loss on the maps, by the objective, and by the best loss that any descent came to."""
    closed = next(run for run in runs if run.kind == "closed form")
    descents = [run for run in runs if run.kind == "sgd"]
    share = f"{100 * goal.within:g} %"
    best = min(point.loss for run in descents for point in run.points)
    near_best: Callable[[Point], bool] = lambda point: point.loss <= (1 + goal.within) * best  # noqa: E731
    wanted = {
        f"loss within {share} of the optimum's": goal.by_loss,
        f"objective within {share} of the optimum's": goal.by_objective,
        f"loss within {share} of the best of sgd": near_best,
    }
    found = []
    for what, there in wanted.items():
        arrived = [(point, run.name) for run in descents if (point := run.first(there)) is not None]
        mine = closed.first(there)
        assert mine is not None
        if arrived:
            point, name = min(arrived, key=lambda pair: pair[0].seconds.cpu)
        else:
            point, name = max(
                ((run.points[-1], run.name) for run in descents), key=lambda pair: pair[0].seconds.cpu
            )
        found.append(Verdict(what, mine, point, bool(arrived), name))
    return found


def shown_points(run: Run, goal: Goal) -> list[Point]:
    """The points worth a row: first, first within the share, last."""
    marked = [run.points[0], run.first(goal.by_objective), run.first(goal.by_loss), run.points[-1]]
    kept = {point.step: point for point in marked if point is not None}
    return [kept[step] for step in sorted(kept)] if run.kind == "closed form" else [run.points[-1]]


def show(runs: Sequence[Run], goal: Goal, judged: Sequence[Verdict], facts: Mapping[str, object]) -> None:
    """Tables on stdout."""
    from rich.console import Console
    from rich.table import Table

    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 140)
    for label, value in facts.items():
        console.print(f"{label}: {value}", markup=False)
    table = Table("solver")
    for column in ("steps", "seconds", "processor s", "loss", "above the optimum", "objective", "above"):
        table.add_column(column, justify="right")
    for run in runs:
        for point in shown_points(run, goal):
            cells = (
                [f"{point.objective:.6f}", above(point.objective, goal.objective)] if point.objective else []
            )
            table.add_row(
                run.name, str(point.step), f"{point.seconds.wall:.1f}", f"{point.seconds.cpu:.1f}",
                f"{point.loss:.6f}", above(point.loss, goal.loss), *cells,
            )  # fmt: skip
    console.print(table)
    table = Table("to come to", "closed form s", "sgd s", "ratio", "of processor s", "goal", "by")
    for verdict in judged:
        sign, (wall, cpu) = "" if verdict.reached else "> ", verdict.ratios
        table.add_row(
            verdict.what, f"{verdict.closed.seconds.wall:.1f}", f"{sign}{verdict.sgd.seconds.wall:.1f}",
            f"{sign}{wall:.1f}", f"{sign}{cpu:.1f}", f"≥ {GOAL:g}{'' if verdict.met else ' (missed)'}", verdict.by,
        )  # fmt: skip
    console.print(table)


def above(value: float, optimum: float) -> str:
    """How far a value lies above the optimum, as a share."""
    return f"{100 * (value / optimum - 1):+.2f} %"
