"""Where Gaussians are added and removed: a budget spent where the pictures are wrong.

Letters: n Gaussians · m new ones.

The transpose of drawing gives every Gaussian its share of the pictures' error, sum_p w_ip error_p, at no cost:
one extra channel of zeros is drawn, and the gradient that reaches it when the error is fed in is that share.
Gaussians are split with probability proportional to it, along their longest axis, in a way that keeps what they
show nearly the same; those that became transparent are taken out. The number grows towards a fixed budget, so
memory and time are known beforehand.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from featurefields.maths.rotations import matrix_from_quat
from featurefields.splats import Splats, concatenate


@dataclass(frozen=True, kw_only=True)
class DensifyConfig:
    """How the number of Gaussians changes during a fit."""

    budget: int = 50_000
    """Most Gaussians there will be."""
    every: int = 100
    """Steps between two changes."""
    start: float = 0.03
    """Fraction of all steps after which Gaussians are first added."""
    stop: float = 0.6
    """Fraction of all steps after which nothing is added or removed any more."""
    growth: float = 0.12
    """Most that one change adds, as a fraction of the present number."""
    opacity_min: float = 0.01
    """Gaussians less opaque than this are removed."""

    def due(self, step: int, steps: int) -> bool:
        """Whether the table changes after this step (counted from 1)."""
        return step % self.every == 0 and self.start * steps <= step <= self.stop * steps

    def grown(self, count: int) -> int:
        """How many `count` Gaussians become at most in one change."""
        return max(count, min(self.budget, int(count * (1 + self.growth))))


def to_remove(splats: Splats, config: DensifyConfig) -> Bool[Tensor, "n"]:
    """Transparent Gaussians, and those that are no longer finite."""
    finite = torch.isfinite(splats.means).all(-1) & torch.isfinite(splats.log_scales).all(-1)
    return (splats.opacities < config.opacity_min) | ~finite


def to_split(
    score: Float[Tensor, "n"], free: int, config: DensifyConfig, generator: torch.Generator
) -> Int[Tensor, "m"]:
    """Indices to split, drawn without repetition with probability proportional to `score`."""
    count = min(free, int(config.growth * len(score)) + 1, int((score > 0).sum()))
    if count <= 0:
        return torch.empty(0, dtype=torch.int64)
    # Efraimidis and Spirakis 2006: the largest of u^(1/score) are a weighted sample without replacement
    uniform = torch.rand(len(score), generator=generator, dtype=torch.float64).clamp(min=1e-300)
    keys = torch.log(uniform).to(score.device) / score.double().clamp(min=1e-30)
    keys = torch.where(score > 0, keys, -torch.inf)
    return keys.topk(count).indices.sort().values


def halves(parents: Splats) -> tuple[Splats, Splats]:
    """Two Gaussians for each parent: shifted by half a deviation along its longest axis, narrower, each with the
    opacity that makes two layers as opaque as the parent was."""
    longest = parents.log_scales.argmax(-1)
    shift = torch.zeros_like(parents.log_scales)
    shift.scatter_(1, longest[:, None], 0.5 * parents.scales.gather(1, longest[:, None]))
    offset = torch.einsum("nij,nj->ni", matrix_from_quat(parents.quats), shift)
    log_scales = parents.log_scales.scatter_add(
        1, longest[:, None], torch.full_like(shift[:, :1], float(torch.log(torch.tensor(0.62))))
    )
    opacity = 1 - torch.sqrt((1 - parents.opacities).clamp(min=1e-6))
    opacity = 0.5 * (opacity + parents.opacities)
    logits = torch.logit(opacity.clamp(1e-4, 0.999))
    return tuple(
        Splats(parents.means + sign * offset, parents.quats, log_scales, logits, parents.columns)
        for sign in (-1, 1)
    )  # type: ignore[return-value]


def changed_rows(
    splats: Splats, score: Float[Tensor, "n"], config: DensifyConfig, generator: torch.Generator
) -> tuple[Int[Tensor, "k"], Splats]:
    """One change of the table: which rows stay as they are, and the new Gaussians to append after them."""
    gone = to_remove(splats, config)
    score = torch.where(gone, torch.zeros_like(score), score)
    free = config.budget - (len(splats) - int(gone.sum()))
    parents = to_split(score, free, config, generator).to(score.device)
    keep = ~gone
    keep[parents] = False
    first, second = halves(splats.select(parents))
    return keep.nonzero().squeeze(-1), concatenate([first, second])
