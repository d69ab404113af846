"""Stochastic gradient descent of the very objective that least squares minimises.

Letters: n Gaussians · m unknowns a Gaussian · d feature dimension.

Everything is in its favour: gradients are written out (no automatic differentiation), Adam is torch's fused kernel,
the geometry is frozen, the maps lie in memory, and it starts where conjugate gradients do.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.solvers.problem import System


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Steps of Adam."""

    rate: float
    """First step size, as a share of the features' root mean square."""
    epochs: int
    """How often every view is looked at; a step looks at one of them."""
    final_rate: float = 0.01
    """Share of the step size at the end; it falls exponentially."""
    seed: int = 0
    """Seed of the order of the views."""


@torch.no_grad()
def descend(
    system: System, schedule: Schedule, on_epoch: Callable[[Float[Tensor, "n m d"]], bool]
) -> Float[Tensor, "n m d"]:
    """The unknowns after the last epoch. `on_epoch` is given the unknowns after every epoch; True ends it there."""
    x = system.start.clone()
    x.grad = torch.empty_like(x)
    rate = schedule.rate * float(system.start[:, 0].square().mean().sqrt().clamp(min=1e-12))
    adam = torch.optim.Adam([x], lr=rate, betas=(0.9, 0.99), eps=1e-15, fused=True)
    generator = torch.Generator().manual_seed(schedule.seed)
    views = len(system.cameras)
    for epoch in range(schedule.epochs):
        for step, place in enumerate(torch.randperm(views, generator=generator).tolist()):
            done = (epoch + step / views) / schedule.epochs
            adam.param_groups[0]["lr"] = rate * schedule.final_rate**done
            system.gradient(place, x, x.grad)
            adam.step()
        if on_epoch(x):
            break
    return x
