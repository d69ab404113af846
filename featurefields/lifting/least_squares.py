"""The best features for all views at once: joint linear least squares.

Letters: n Gaussians · v views · d feature dimension · k directional functions · m = 1 + k · h w pixels.

With the geometry fixed, the picture of view v is linear in the unknowns x = (F, H): a Gaussian shows
F_i + sum_k B_k(v, i) H_ik, B the centred directional functions of `DirectionalHead`, and W_v composites what all
show. With M the views' masks, a = W_v 1 their coverage and f the maps,

    minimise  sum_v | M (W_v (F + B H) - a f) |^2  +  ridge sum_i s_i |F_i - F0_i|^2
              +  directional_ridge sum_i s_i b |H_i|^2

where s_i is the weight with which Gaussian i is seen, b the mean variance of the directional functions, and F0 the
weighted mean of what i is seen to be (the one-pass lift), so that what hardly any view shows stays at it.

The normal equations are solved by conjugate gradients, all d columns at once, preconditioned by every Gaussian's own
m x m block with the sums of W'W's rows on its diagonal. A product with the matrix is one drawing and one gathering a
view. The maps are read once, one at a time, for the right side.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from featurefields.field import FeatureField
from featurefields.lifting.maps import Maps, counted, weighted
from featurefields.lifting.moments import Centred, Moments, basis_of
from featurefields.lifting.solution import Solution, with_directional
from featurefields.lifting.uplift import refuse_nothing
from featurefields.raster import FROZEN_BYTES, FrozenView, FrozenViews, RasterConfig, Rasterizer
from featurefields.scene import View

TABLES = 5
"""Tables of the size of the unknowns that there are at once, temporary ones included."""
PART = 8192
"""Gaussians whose products are taken at once."""
ROWS = 4
"""Tables of one feature a Gaussian that there are at once."""
PICTURES = 4
"""Pictures of the feature dimension that there are at once."""
VIEW_BYTES = 600
"""Bytes a pixel of a view that is being frozen, as many Gaussians as usually cover it."""


@dataclass(frozen=True, kw_only=True)
class LeastSquaresConfig:
    """How much is fitted, and how far."""

    degree: int = 1
    """Degree of the harmonics of the reflected direction; 0 leaves the view-dependent part out."""
    ridge: float = 0.1
    """Pull of the view-independent part towards the weighted mean of what a Gaussian is seen to be. Less fits the
    photos better, more keeps neighbours alike, which clicks want."""
    directional_ridge: float = 0.1
    """Pull of the view-dependent part towards nothing."""
    iterations: int = 30
    """Most steps of conjugate gradients."""
    tolerance: float = 1e-2
    """Stop when the residual of the normal equations has shrunk to this share in every column."""


def working_bytes(
    count: int, dim: int, views: int, pixels: int, config: LeastSquaresConfig = LeastSquaresConfig()
) -> int:
    """About how much memory `solve` takes beside the frozen views, for `views` views of `pixels` pixels each."""
    m = (config.degree + 1) ** 2
    rows = (TABLES * m + ROWS) * dim + 4 * m * m + views * (m - 1)
    return 4 * (count * rows + PICTURES * pixels * dim) + (views + VIEW_BYTES) * pixels


@torch.no_grad()
def solve(
    field: FeatureField,
    views: Sequence[View],
    maps: Maps,
    *,
    rasterizer: Rasterizer,
    name: str = "feature",
    config: LeastSquaresConfig = LeastSquaresConfig(),
    raster: RasterConfig = RasterConfig(),
    budget_bytes: int = FROZEN_BYTES,
    on_view: Callable[[], object] = lambda: None,
    on_loss: Callable[[float], object] = lambda loss: None,
) -> Solution:
    """The field with a `DirectionalHead` called `name` fitted to the maps of all views together.

    Degree 0 gives a `DirectHead`: one field without a view-dependent part. Gaussians that no view sees get 0.
    The losses are those after 0, 1, 2 … steps; they fall, up to what the ridge asks for. Frozen views are kept as
    far as `budget_bytes` go, and made anew in every step beyond that; `working_bytes` tells what else is needed.
    `on_view` is called once a view for the right side, for the start, and for every step: at most
    v (2 + iterations) times. `on_loss` is told every loss as soon as it is known.

    Raises:
        FittingError: there is no view to fit to.
    """
    refuse_nothing(views)
    splats = field.splats
    cameras = [view.camera.to(splats.means) for view in views]
    matrix = _Matrix(
        FrozenViews(rasterizer, splats, cameras, raster, budget_bytes=budget_bytes),
        [counted(view, splats.means) for view in views],
        [basis_of(config.degree, splats, camera) for camera in cameras],
    )
    right = _right_side(matrix, views, maps, on_view)
    unknowns, losses = _minimise(matrix, right, config, on_view, on_loss)
    slopes, centre = unknowns[:, 1:], right.sums.centre
    return Solution(with_directional(field, name, config.degree, unknowns[:, 0], slopes, centre), losses)


@dataclass(frozen=True)
class _Matrix:
    """What makes pictures of the unknowns.

    Attributes:
        frozen: the views.
        counted: which of their pixels count.
        bases: their directional functions; centred in place once the mean is known.
    """

    frozen: Sequence[FrozenView]
    counted: Sequence[Bool[Tensor, "h w"]]
    bases: Sequence[Float[Tensor, "n k"]]

    def normal_product(
        self, x: Float[Tensor, "n m d"], result: Float[Tensor, "n m d"], on_view: Callable[[], object]
    ) -> Float[Tensor, "n m d"]:
        """A'A x, A the masked drawing of all views, written over `result`."""
        result.zero_()
        for seen, pixels, basis in zip(self.frozen, self.counted, self.bases, strict=True):
            shown = x[:, 0].clone()
            for index in range(basis.shape[1]):
                shown.addcmul_(basis[:, index, None], x[:, 1 + index])
            gathered = seen.gather(seen.draw(shown).mul_(pixels[..., None]))
            with_constant = torch.cat([basis.new_ones(len(basis), 1), basis], dim=1)
            result.addcmul_(with_constant[:, :, None], gathered[:, None, :])
            on_view()
        return result


@dataclass(frozen=True)
class _RightSide:
    """What the maps come to.

    Attributes:
        sums: A'f in `crossed`, and the weights and directional functions' moments.
        energy: sum of the squared targets.
        mass: sum of the squared coverage, over the pixels that count.
    """

    sums: Centred
    energy: float
    mass: float


def _right_side(
    matrix: _Matrix, views: Sequence[View], maps: Maps, on_view: Callable[[], object]
) -> _RightSide:
    """One pass over the maps; the matrix is centred afterwards."""
    moments, energy, mass = None, 0.0, 0.0
    for seen, pixels, basis, view in zip(matrix.frozen, matrix.counted, matrix.bases, views, strict=True):
        target = weighted(maps[view.name](), seen.alpha * pixels)
        gathered = seen.gather(target)
        moments = moments or Moments(gathered, basis.shape[1])
        moments.add(gathered, basis)
        energy += float(target[..., :-1].square().sum(dtype=torch.float64))
        mass += float(target[..., -1].square().sum(dtype=torch.float64))
        on_view()
    assert moments is not None
    sums = moments.centred()
    for basis in matrix.bases:
        basis -= sums.centre
    return _RightSide(sums, energy, mass)


def _ridge(sums: Centred, config: LeastSquaresConfig) -> Float[Tensor, "n m"]:
    """The diagonal of the ridge."""
    pull = sums.weight.new_full((1 + sums.centre.shape[1],), config.directional_ridge * sums.spread)
    pull[0] = config.ridge
    return (sums.safe_weight[:, None] * pull).clamp(min=1e-9)


def _inverse_blocks(sums: Centred, ridge: Float[Tensor, "n m"]) -> Float[Tensor, "n m m"]:
    """The preconditioner: inverses of every Gaussian's own block of the normal equations."""
    blocks = torch.diag_embed(ridge)
    blocks[:, 0, 0] += sums.weight
    blocks[:, 1:, 1:] += sums.weight[:, None, None] * sums.covariance
    return torch.linalg.inv(blocks)


def _minimise(
    matrix: _Matrix,
    right: _RightSide,
    config: LeastSquaresConfig,
    on_view: Callable[[], object],
    on_loss: Callable[[float], object],
) -> tuple[Float[Tensor, "n m d"], tuple[float, ...]]:
    """Preconditioned conjugate gradients from the one-pass lift, with a step length of its own for every dimension.

    The objective is known at every step from the products that are there anyway; the loss is the objective without
    the ridge. `right.sums.crossed` is used up.
    """
    ridge = _ridge(right.sums, config)
    inverses = _inverse_blocks(right.sums, ridge)
    start, residual = right.sums.mean, right.sums.crossed
    x = torch.zeros_like(residual)
    x[:, 0] = start
    objective = right.energy - _dot(start, residual[:, 0])
    moved = torch.empty_like(residual)
    residual -= matrix.normal_product(x, moved, on_view)
    objective -= _dot(start, residual[:, 0])
    change = x.zero_()
    size = max(right.mass * residual.shape[-1], 1e-12)
    losses = [max(objective, 0.0) / size]
    on_loss(losses[0])
    goal = config.tolerance**2 * _inner(residual, residual)
    direction = torch.bmm(inverses, residual)
    steepness = _inner(residual, direction)
    for _ in range(config.iterations):
        matrix.normal_product(direction, moved, on_view)
        moved.addcmul_(ridge[..., None], direction)
        length = steepness / _inner(direction, moved).clamp(min=1e-30)
        change.addcmul_(direction, length)
        residual.addcmul_(moved, length, value=-1)
        objective -= float((length * steepness).sum(dtype=torch.float64))
        pulled = sum(
            float((r * c.square().sum(-1)).sum(dtype=torch.float64)) for r, c in _parts(ridge, change)
        )
        losses.append(max(objective - pulled, 0.0) / size)
        on_loss(losses[-1])
        if bool((_inner(residual, residual) <= goal).all()):
            break
        torch.bmm(inverses, residual, out=moved)
        before, steepness = steepness, _inner(residual, moved)
        direction = direction.mul_(steepness / before.clamp(min=1e-30)).add_(moved)
    change[:, 0] += start
    return change, tuple(losses)


def _inner(a: Float[Tensor, "n m d"], b: Float[Tensor, "n m d"]) -> Float[Tensor, "d"]:
    return torch.stack([(x * y).sum((0, 1)) for x, y in _parts(a, b)]).sum(0)


def _parts(a: Float[Tensor, "n ..."], b: Float[Tensor, "n ..."]) -> Iterator[tuple[Tensor, Tensor]]:
    """The same rows of both, some at a time, so that products of whole tables never exist."""
    return zip(a.split(PART), b.split(PART), strict=True)


def _dot(a: Float[Tensor, "n d"], b: Float[Tensor, "n d"]) -> float:
    return float((a * b).sum(dtype=torch.float64))
