"""Spherical harmonics that look like given pictures, for Gaussians whose geometry is fixed.

Letters: n Gaussians · v views · k harmonics · h w pixels.

The picture of view v is linear in the unknowns x: a Gaussian shows 0.5 + sum_k Y_k(direction to it) x_k, and W_v
composites what all show (what is below 0 shows as 0, which is let in once a round). With p the prior,

    minimise  sum_v | W_v (0.5 + Y_v x) - picture_v |^2  +  ridge |x - p|^2

by conjugate gradients, preconditioned by every Gaussian's own k x k block with the sums of W'W's rows on its diagonal.
A product with the matrix is one drawing and one gathering a view.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.maths.harmonic_rows import harmonic_rows, spread, summed, towards_rows
from featurefields.maths.harmonics import CONSTANT
from featurefields.raster import FrozenView

SEEN = 1e-6
"""Gaussians with less weight over all views count as never seen."""
MEAN_PULL = 0.01
"""Pull of the start towards the mean colour, in weights."""


@dataclass(frozen=True)
class BandViews:
    """Views with fixed geometry, and the directions from which they see every Gaussian.

    Attributes:
        means: places of the Gaussians (n 3).
        degree: of the harmonics.
        frozen: the views.
        cameras: theirs.
        on_view: called after every pass over a view.
    """

    means: Float[Tensor, "n 3"]
    degree: int
    frozen: Sequence[FrozenView]
    cameras: Sequence[Camera]
    on_view: Callable[[], object] = lambda: None

    def basis(self, index: int) -> Float[Tensor, "k n"]:
        position = self.cameras[index].position.to(self.means)
        return harmonic_rows(towards_rows(self.means, position), self.degree)

    def product(self, x: Float[Tensor, "k 3 n"]) -> Float[Tensor, "k 3 n"]:
        """Y'W'W Y x, summed over the views."""
        result = torch.zeros_like(x)
        for index, view in enumerate(self.frozen):
            basis = self.basis(index)
            spread(basis, view.gather(view.draw(summed(basis, x))), result)
            self.on_view()
        return result

    def misfit(
        self, x: Float[Tensor, "k 3 n"], pictures: Sequence[Float[Tensor, "h w 3"]]
    ) -> Float[Tensor, "k 3 n"]:
        """Y'W' of what the pictures have and the drawn ones lack; what shows black already is not made darker."""
        result = torch.zeros_like(x)
        for index, (view, picture) in enumerate(zip(self.frozen, pictures, strict=True)):
            basis = self.basis(index)
            shown = 0.5 + summed(basis, x)
            lack = view.gather(picture - view.draw(shown.clamp(min=0)))
            spread(basis, torch.where(shown > 0, lack, lack.clamp(min=0)), result)
            self.on_view()
        return result


@dataclass(frozen=True)
class Seen:
    """How the views see every Gaussian.

    Attributes:
        weight: with how much weight (n).
        blocks: sums of weight Y Y' (n k k).
        colour: weighted mean of the pixels that show it (n 3); 0 where nothing does.
        start: harmonics (k 3 n) that come nearest to those means in every view, by weighted least squares.
    """

    weight: Float[Tensor, "n"]
    blocks: Float[Tensor, "n k k"]
    colour: Float[Tensor, "n 3"]
    start: Float[Tensor, "k 3 n"]


def how_seen(views: BandViews, pictures: Sequence[Float[Tensor, "h w 3"]], ridge: float) -> Seen:
    """One pass over all views."""
    means, k = views.means, (views.degree + 1) ** 2
    weight, total = means.new_zeros(len(means)), means.new_zeros(len(means), 3)
    products, right = means.new_zeros(k, k, len(means)), means.new_zeros(k, 3, len(means))
    for index, (view, picture) in enumerate(zip(views.frozen, pictures, strict=True)):
        gathered = view.gather(torch.cat([picture, torch.ones_like(picture[..., :1])], dim=-1))
        shown, seen = gathered[:, :3], gathered[:, 3]
        basis = views.basis(index)
        weighted = seen * basis
        for row, factor in enumerate(weighted):
            products[row, row:].addcmul_(factor, basis[row:])
        spread(basis, shown - 0.5 * seen[:, None], right)
        weight, total = weight + seen, total + shown
        views.on_view()
    for row in range(k):
        products[row + 1 :, row] = products[row, row + 1 :]
    blocks = products.permute(2, 0, 1).contiguous()
    colour = total / weight.clamp(min=SEEN)[:, None]
    pull = ridge + MEAN_PULL * weight
    right[0] += pull * (colour.T - 0.5) / CONSTANT
    start = torch.linalg.solve(_with_ridge(blocks, pull), right.permute(2, 0, 1))
    return Seen(weight, blocks, colour, start.permute(1, 2, 0).contiguous())


def _with_ridge(blocks: Float[Tensor, "n k k"], ridge: Float[Tensor, "n"]) -> Float[Tensor, "n k k"]:
    result = blocks.clone()
    result.diagonal(dim1=1, dim2=2).add_(ridge[:, None])
    return result


def solve(
    views: BandViews,
    pictures: Sequence[Float[Tensor, "h w 3"]],
    seen: Seen,
    prior: Float[Tensor, "k 3 n"],
    *,
    ridge: float,
    rounds: int,
    steps: int,
) -> Float[Tensor, "k 3 n"]:
    """`rounds` times `steps` steps of conjugate gradients from `seen.start`, each channel with its own lengths."""
    inverses = torch.linalg.inv(_with_ridge(seen.blocks, torch.full_like(seen.weight, ridge)))
    x = torch.where(seen.weight > SEEN, seen.start, prior)

    def eased(residual: Tensor) -> Tensor:
        return torch.bmm(inverses, residual.permute(2, 0, 1)).permute(1, 2, 0).contiguous()

    for _ in range(rounds):
        residual = views.misfit(x, pictures) + ridge * (prior - x)
        direction = eased(residual)
        steepness = _inner(residual, direction)
        for step in range(steps):
            moved = views.product(direction) + ridge * direction
            length = steepness / _inner(direction, moved).clamp(min=1e-30)
            x = x + length[:, None] * direction
            if step + 1 == steps:
                break
            residual = residual - length[:, None] * moved
            better = eased(residual)
            before, steepness = steepness, _inner(residual, better)
            direction = better + (steepness / before.clamp(min=1e-30))[:, None] * direction
    return x


def _inner(a: Float[Tensor, "k 3 n"], b: Float[Tensor, "k 3 n"]) -> Float[Tensor, "3"]:
    return (a * b).sum((0, 2))
