"""Every solver on one problem: what it had reached after how many seconds.

Letters: n Gaussians · m unknowns a Gaussian · d feature dimension.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from benchmarks.solvers.clock import Clock, Seconds
from benchmarks.solvers.problem import NAME, Problem, System
from benchmarks.solvers.stochastic import Schedule
from benchmarks.solvers.stochastic import descend as stochastic
from featurefields.field import FeatureField
from featurefields.lifting.descent import DescentConfig, descend
from featurefields.lifting.least_squares import solve
from featurefields.lifting.uplift import uplift

CONVERGED_STEPS, CONVERGED_TOLERANCE = 80, 1e-4
"""How far conjugate gradients go to find the optimum."""


@dataclass(frozen=True)
class Point:
    """What a solver had reached.

    Attributes:
        step: conjugate gradients' steps, or epochs, before.
        seconds: it had taken.
        loss: mean squared error on the maps, as the solvers tell it.
        objective: with the ridge, where the model has one and it was measured.
    """

    step: int
    seconds: Seconds
    loss: float
    objective: float | None = None


@dataclass(frozen=True)
class Run:
    """A solver's way: the closed form, descent of the same objective, or something beside them."""

    kind: Literal["closed form", "sgd", "beside"]
    name: str
    points: tuple[Point, ...]

    def first(self, reached: Callable[[Point], bool]) -> Point | None:
        """The first point that is good enough."""
        return next((point for point in self.points if reached(point)), None)


@dataclass(frozen=True)
class Goal:
    """A share above the optimum.

    Attributes:
        loss, objective: of the optimum.
        within: how much more of either is allowed, as a share.
    """

    loss: float
    objective: float
    within: float

    def by_loss(self, point: Point) -> bool:
        return point.loss <= (1 + self.within) * self.loss

    def by_objective(self, point: Point) -> bool:
        return point.objective is not None and point.objective <= (1 + self.within) * self.objective


def warm_up(problem: Problem) -> None:
    """Everything once on two views, so that nothing is compiled on the clock."""
    few = replace(problem, views=problem.views[:2])
    system = System(few)
    one_pass(few, system)
    solve(few.field, few.views, few.maps, rasterizer=few.rasterizer, config=replace(few.config, iterations=1))
    stochastic(system, Schedule(rate=0.01, epochs=1), lambda x: True)
    for config in shipped_descents(few):
        descent(few, system, replace(config, epochs=1), "")


def one_pass(problem: Problem, judge: System) -> Run:
    """The one-pass lift."""
    clock = Clock()
    found = uplift(
        problem.field, problem.views, problem.maps, rasterizer=problem.rasterizer, name=NAME,
        degree=problem.config.degree, budget_bytes=problem.budget_bytes,
    )  # fmt: skip
    return Run("beside", "one-pass uplift", (_judged(judge, found, 1, clock.read()),))


def as_shipped(problem: Problem, judge: System) -> Run:
    """Least squares with its own stopping rule."""
    clock = Clock()
    found = solve(
        problem.field, problem.views, problem.maps, rasterizer=problem.rasterizer, name=NAME,
        config=problem.config, budget_bytes=problem.budget_bytes,
    )  # fmt: skip
    taken = clock.read()
    point = _judged(judge, found.field, len(found.losses) - 1, taken)
    return Run("beside", "least squares, as shipped", (point,))


def closed_form(problem: Problem, judge: System, within: float) -> tuple[Run, Goal]:
    """Conjugate gradients until they have converged, and the optimum that is theirs.

    Losses are told on the way. Objectives need the unknowns: those of shorter runs, not on the clock, at the steps
    that tell when the objective is first within the share.
    """

    def fitted(iterations: int, on_loss: Callable[[float], object] = lambda loss: None) -> FeatureField:
        config = replace(problem.config, iterations=iterations, tolerance=CONVERGED_TOLERANCE)
        return solve(
            problem.field, problem.views, problem.maps, rasterizer=problem.rasterizer, name=NAME,
            config=config, budget_bytes=problem.budget_bytes, on_loss=on_loss,
        ).field  # fmt: skip

    told: list[tuple[Seconds, float]] = []
    clock = Clock()
    found = fitted(CONVERGED_STEPS, lambda loss: told.append((clock.read(), loss)))
    points = [Point(step, seconds, loss) for step, (seconds, loss) in enumerate(told)]
    last = len(points) - 1
    points[last] = _judged(judge, found, last, points[last].seconds)
    objective = points[last].objective
    assert objective is not None
    goal = Goal(points[last].loss, objective, within)

    def there(step: int) -> bool:
        if points[step].objective is None:
            points[step] = _judged(judge, fitted(step), step, points[step].seconds)
        return goal.by_objective(points[step])

    first_step(there, last)
    return Run("closed form", "least squares (conjugate gradients)", tuple(points)), goal


def first_step(there: Callable[[int], bool], last: int) -> int:
    """The first step from which on `there` holds; it does at `last`. Looks at few steps, early ones first."""
    low, high = -1, 1
    while high < last and not there(high):
        low, high = high, 2 * high
    high = min(high, last)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if there(middle) else (middle, high)
    return high


def gradient_descent(problem: Problem, judge: System, schedule: Schedule, goal: Goal, limit_s: float) -> Run:
    """Adam on the objective of the closed form, until it is within the share by loss and by objective, the epochs are
    over, or it took more than `limit_s` seconds of the processors."""
    points: list[Point] = []
    clock = Clock()
    system = System(problem)

    def on_epoch(x: Float[Tensor, "n m d"]) -> bool:
        seconds = clock.read()
        with clock.paused():
            points.append(_judged(judge, system.field(x), len(points) + 1, seconds))
        arrived = goal.by_loss(points[-1]) and goal.by_objective(points[-1])
        return arrived or seconds.cpu > limit_s

    stochastic(system, schedule, on_epoch)
    return Run("sgd", f"sgd, rate {schedule.rate:g}, {schedule.epochs} epochs", tuple(points))


def descent(problem: Problem, judge: System, config: DescentConfig, name: str) -> Run:
    """`lifting.descent` as it is: other penalties, and for the deferred head another model."""
    clock = Clock()
    found = descend(
        problem.field, problem.views, problem.maps, rasterizer=problem.rasterizer, name=NAME,
        config=config, budget_bytes=problem.budget_bytes,
    )  # fmt: skip
    taken = clock.read()
    point = Point(config.epochs, taken, judge.loss(found.field))
    return Run("beside", name, (point,))


def shipped_descents(problem: Problem) -> tuple[DescentConfig, ...]:
    """`lifting.descent` for the linear model and with a network a pixel."""
    degree = problem.config.degree
    return DescentConfig(head="directional", degree=degree), DescentConfig(head="deferred", degree=degree)


def race(
    problem: Problem,
    schedules: Sequence[Schedule],
    *,
    within: float,
    bound: float,
    on_run: Callable[[str], object] = lambda name: None,
) -> tuple[list[Run], Goal]:
    """All solvers, one after the other; gradient descent is given up after `bound` times the closed form's time."""
    on_run("warming up")
    warm_up(problem)
    judge = System(problem)
    System(problem)  # the memory of frozen views, which stays with the process for those who come
    on_run("one pass, least squares")
    runs = [one_pass(problem, judge), as_shipped(problem, judge)]
    closed, goal = closed_form(problem, judge, within)
    runs.append(closed)
    arrived = [closed.first(goal.by_loss), closed.first(goal.by_objective)]
    limit_s = bound * max(point.seconds.cpu for point in arrived if point is not None)
    for schedule in schedules:
        on_run(f"sgd: {schedule}")
        runs.append(gradient_descent(problem, judge, schedule, goal, limit_s))
    for config in shipped_descents(problem):
        name = f"ff fit's sgd, {config.head}"
        on_run(name)
        runs.append(descent(problem, judge, config, name))
    return runs, goal


def _judged(judge: System, field: FeatureField, step: int, seconds: Seconds) -> Point:
    loss = judge.loss(field)
    return Point(step, seconds, loss, judge.objective(field, loss))
